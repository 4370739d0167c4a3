"""Programs whose waits are changed at random: what the checking mode lets through never races, whatever the times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import ROOMY_BYTES, conv, gpu_of, layer, network_of, plan_of, trace_of
from support.examples import tries
from support.strategies import cases
from vdnnsim.machines import BrokenProgram, DeviceMemory, check_program
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.network import Kind, Network
from vdnnsim.policies.plan import Layout
from vdnnsim.program import (
    GPU_STREAMS,
    Allocate,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostWait,
    Kernel,
    Piece,
    Program,
    Stream,
    StreamWait,
    Synchronise,
    build_program,
    operands_of,
)
from vdnnsim.timeline import COPY_IN, COPY_OUT, Timeline


class Use(NamedTuple):
    """Bytes of the device, or of the host (below 0), and which command touches them when."""

    command: int
    first: int
    last: int
    begin_ns: int
    end_ns: int
    writes: bool


def uses_of(network: Network, program: Program, timeline: Timeline) -> list[Use]:
    """Every use of a block, in the program's order."""
    kernels = iter(timeline.kernels)
    copies = {way: iter([copy for copy in timeline.copies if copy.direction == way]) for way in (COPY_OUT, COPY_IN)}
    memory = iter(timeline.memory)
    places: dict[str, tuple[int, int]] = {}
    hosts: dict[str, int] = {}
    uses: list[Use] = []

    def take(name: str, size_bytes: int) -> None:
        record = next(memory)
        assert (record.buffer, record.taken) == (name, True)
        places[name] = (record.address, record.address + size_bytes)

    for buffer in program.setup:
        take(buffer.name, buffer.size_bytes)
    for number, command in enumerate(program.commands):
        if isinstance(command, Allocate):
            take(command.buffer.name, command.buffer.size_bytes)
        elif isinstance(command, Free):
            next(memory)
        elif isinstance(command, Kernel):
            record = next(kernels)
            operands = operands_of(network, command)
            for operand in (operands.reads | operands.writes) & set(program.operands):
                place = places[program.operands[operand]]
                uses.append(Use(number, *place, record.begin_ns, record.end_ns, operand in operands.writes))
            if command.workspace:
                uses.append(Use(number, *places[command.workspace.name], record.begin_ns, record.end_ns, True))
        elif isinstance(command, CopyOut | CopyIn):
            out = isinstance(command, CopyOut)
            copy = next(copies[COPY_OUT if out else COPY_IN])
            host = hosts.setdefault(command.buffer.name, -1 - len(hosts))
            uses.append(Use(number, *places[command.buffer.name], copy.begin_ns, copy.end_ns, not out))
            uses.append(Use(number, host, host + 1, copy.begin_ns, copy.end_ns, out))
    return uses


def race(uses: list[Use]) -> tuple[Use, Use] | None:
    """Two uses of the same bytes, not both reads, of which the later in the program begins before the other ends."""
    for place, later in enumerate(uses):
        for before in uses[:place]:
            overlap = before.first < later.last and later.first < before.last
            matters = before.command != later.command and (before.writes or later.writes)
            if overlap and matters and later.begin_ns < before.end_ns:
                return before, later
    return None


def changed(data: st.DataObject, program: Program) -> Program:
    """Waits of the host for streams are kept, or made waits for the last pieces there, of the host or of every stream;
    a few are left out."""
    commands: list[Command] = []
    given = dict.fromkeys(GPU_STREAMS, 0)
    left_out = data.draw(st.sets(st.integers(0, 30), max_size=2))
    waits = 0
    for command in program.commands:
        if isinstance(command, Synchronise):
            waits += 1
            pieces = [Piece(stream, given[stream]) for stream in command.streams if given[stream]]
            kind = data.draw(st.sampled_from(["keep", "host", "stream", "stream"]))
            if waits in left_out:
                continue
            if kind == "keep":
                commands.append(command)
            elif kind == "host":
                commands += map(HostWait, pieces)
            else:
                commands += [StreamWait(stream, piece) for piece in pieces for stream in GPU_STREAMS]
            continue
        if isinstance(command, Kernel):
            given[Stream.COMPUTE] += 1
        elif isinstance(command, CopyOut | CopyIn):
            given[Stream.COPY_OUT if isinstance(command, CopyOut) else Stream.COPY_IN] += 1
        commands.append(command)
    return of_one_step(program, commands)


def of_one_step(program: Program, commands: Sequence[Command]) -> Program:
    step = program.steps[0]._replace(first=0, last=len(commands))
    return replace(program, commands=tuple(commands), steps=(step,))


@settings(max_examples=tries(50))
@given(st.data())
def test_what_the_checking_mode_lets_through_never_races(data: st.DataObject) -> None:
    case = data.draw(cases(layout=Layout.LAYER_WISE))
    program = changed(data, build_program(case.network, case.plan))
    try:
        check_program(case.network, program, DeviceMemory(make_pool("best-fit", ROOMY_BYTES)))
    except BrokenProgram:
        return
    timeline = SimulatedMachine(case.trace, case.gpu).run(program, make_pool("best-fit", ROOMY_BYTES))
    assert race(uses_of(case.network, program, timeline)) is None


def test_a_program_without_its_waits_races_where_copies_are_slow() -> None:
    network = network_of(conv("a"), conv("b"), layer(Kind.SOFTMAX, "loss"))
    trace = trace_of(network)
    program = build_program(network, plan_of(network, trace, offload=("a", "b")))
    machine = SimulatedMachine(trace, gpu_of(out_ns_per_100_bytes=250, in_ns_per_100_bytes=250))

    def races(program: Program) -> bool:
        timeline = machine.run(program, make_pool("best-fit", ROOMY_BYTES))
        return race(uses_of(network, program, timeline)) is not None

    assert not races(program)
    assert races(of_one_step(program, [one for one in program.commands if not isinstance(one, Synchronise)]))
