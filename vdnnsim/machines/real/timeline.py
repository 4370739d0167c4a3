"""From the marks of an observed iteration to the same records that the simulated machine makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.script import ENGINES
from vdnnsim.machines.stalls import stall_of
from vdnnsim.machines.step_ends import step_ends_ns
from vdnnsim.program import (
    GPU_STREAMS,
    Allocate,
    Buffer,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    HostUpdate,
    HostWait,
    Kernel,
    NvmeRead,
    NvmeWrite,
    Piece,
    Program,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.timeline import (
    COPY_IN,
    COPY_OUT,
    SETUP,
    CopyRecord,
    KernelRecord,
    MemoryRecord,
    StallRecord,
    Timeline,
    WaitRecord,
)


class Marks(NamedTuple):
    """When an iteration began, when the host was through with each command, and (begin, end) of each kernel and copy by
    the command's index; nanoseconds on one clock."""

    begin_ns: int
    done_ns: Sequence[int]
    spans_ns: Mapping[int, tuple[int, int]]


class _Given(NamedTuple):
    """A copy that was given, and when it ended."""

    command: CopyOut | CopyIn
    end_ns: int


_Copies = dict[Stream, list[_Given]]
"""All copies given in each direction, in order."""


def timeline_of(program: Program, marks: Marks, memory: DeviceMemory, addresses: Sequence[int]) -> Timeline:
    """The timeline of an iteration, with times from its beginning. `memory` is the pool after it; `addresses` has one
    entry per command, of which those of Allocate and Free count.

    The two clocks of a GPU and its host are known to a few microseconds, so that a record may begin a little before
    the command that caused it.
    """
    kernels: list[KernelRecord] = []
    copies: list[CopyRecord] = []
    waits: list[WaitRecord] = []
    stalls: list[StallRecord] = []
    given: _Copies = {Stream.COPY_OUT: [], Stream.COPY_IN: []}
    holding: dict[Stream, _Given] = {}
    records = _setup_records(program, memory)
    for index, step in enumerate(program.steps):
        for number in range(step.first, step.last):
            command = program.commands[number]
            given_ns = (marks.done_ns[number - 1] if number else marks.begin_ns) - marks.begin_ns
            done_ns = marks.done_ns[number] - marks.begin_ns
            if isinstance(command, Allocate | Free):
                taken = isinstance(command, Allocate)
                records.append(_memory_record(index, given_ns, taken, command.buffer, addresses[number]))
                continue
            if isinstance(command, Synchronise | HostWait):
                waits.append(WaitRecord(index, given_ns, done_ns, len(kernels)))
                stalls += _stalls(index, given_ns, done_ns, kernels, _awaited(command, given))
                continue
            if isinstance(command, StreamWait):
                if command.stream is Stream.COMPUTE:
                    for stream, copy in _copy_of(command.piece, given).items():
                        holding[stream] = max(copy, holding.get(stream, copy), key=attrgetter("end_ns"))
                continue
            if isinstance(command, HostCall | HostUpdate | NvmeWrite | NvmeRead):
                continue
            begin_ns, end_ns = (max(0, time_ns - marks.begin_ns) for time_ns in marks.spans_ns[number])
            if isinstance(command, Kernel):
                stalls += _stalls(index, done_ns, begin_ns, kernels, holding)
                holding = {}
                kernels.append(KernelRecord(index, *command[:3], begin_ns, end_ns, command.again))
            else:
                copies.append(_copy_record(index, command, begin_ns, end_ns))
                given[Stream.COPY_OUT if isinstance(command, CopyOut) else Stream.COPY_IN].append(
                    _Given(command, end_ns)
                )
    host_end_ns = (marks.done_ns[-1] if marks.done_ns else marks.begin_ns) - marks.begin_ns
    last = _awaited(Synchronise(GPU_STREAMS), given)
    done_ns = max(host_end_ns, *(copy.end_ns for copy in last.values()), 0)
    stalls += _stalls(len(program.steps) - 1, host_end_ns, done_ns, kernels, last)
    ends = step_ends_ns(len(program.steps), kernels, waits, done_ns)
    return Timeline(
        tuple(kernels),
        tuple(copies),
        tuple(waits),
        tuple(sorted(stalls, key=attrgetter("begin_ns"))),
        tuple(records),
        ends,
        ends[-1] if ends else 0,
        memory.pool.high_water_bytes,
        memory.largest_hole_at_peak(),
    )


def _setup_records(program: Program, memory: DeviceMemory) -> list[MemoryRecord]:
    fresh = DeviceMemory(type(memory.pool)(memory.pool.capacity_bytes))
    return [_memory_record(SETUP, 0, True, buffer, fresh.set_up(buffer)) for buffer in program.setup]


def _memory_record(step: int, time_ns: int, taken: bool, buffer: Buffer, address: int) -> MemoryRecord:
    return MemoryRecord(
        step,
        time_ns,
        taken,
        buffer.name,
        buffer.memory_class,
        buffer.in_classifier,
        address,
        buffer.size_bytes,
    )


def _copy_record(step: int, command: CopyOut | CopyIn, begin_ns: int, end_ns: int) -> CopyRecord:
    """What the copy would have taken alone is not known here; the link's curve says it."""
    direction = COPY_OUT if isinstance(command, CopyOut) else COPY_IN
    size_bytes = command.buffer.size_bytes
    return CopyRecord(step, direction, command.buffer.name, size_bytes, begin_ns, end_ns, end_ns - begin_ns)


def _awaited(command: Synchronise | HostWait, given: _Copies) -> dict[Stream, _Given]:
    """The copy for which the host waits in each direction: with it those given before it are done."""
    if isinstance(command, HostWait):
        return _copy_of(command.piece, given)
    return {stream: copies[-1] for stream, copies in given.items() if copies and stream in command.streams}


def _copy_of(piece: Piece, given: _Copies) -> dict[Stream, _Given]:
    """The copy that a piece of work is, if it is one."""
    return {piece.stream: given[piece.stream][piece.number - 1]} if piece.stream in given else {}


def _stalls(
    step: int, begin_ns: int, done_ns: int, kernels: Sequence[KernelRecord], copies: Mapping[Stream, _Given]
) -> Iterator[StallRecord]:
    """The stall of a wait of the host, or of a kernel, that stood from one moment to another before these copies, if
    there is one. Clocks that differ by a little let none outlast its wait."""
    by_engine = {ENGINES[stream]: copy for stream, copy in copies.items()}
    ends_ns = [(min(copy.end_ns, done_ns), engine) for engine, copy in by_engine.items()]
    stall = stall_of(begin_ns, kernels[-1].end_ns if kernels else 0, ends_ns)
    if stall is not None:
        command = by_engine[stall.engine].command
        late = isinstance(command, CopyIn) and command.late
        direction = COPY_OUT if isinstance(command, CopyOut) else COPY_IN
        yield StallRecord(step, stall.begin_ns, stall.end_ns, direction, command.buffer.name, late)
