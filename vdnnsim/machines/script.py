"""A program as the simulated host gives it: its calls from one wait to the next, with their times added up.

Between two waits nothing that the host does depends on the engines, so that what it puts on them and when is known from
the end of the wait before. A script has that, worked out once; it serves every run of the program that differs in
durations alone. A host whose calls go cold while it waits gives the same, late (`after_wait`). It is columns of
integers rather than objects, so that it costs little where it is used once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import add
from typing import NamedTuple

from vdnnsim.gpu import GpuProfile, HostCosts, Link
from vdnnsim.machines.after_wait import FirstCalls, first_calls_of
from vdnnsim.machines.checking import BrokenProgram
from vdnnsim.machines.step_ends import GivenByStep, given_by_step
from vdnnsim.program import (
    Allocate,
    Buffer,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    HostUpdate,
    HostWait,
    Kernel,
    NotGiven,
    NvmeRead,
    NvmeWrite,
    Piece,
    Program,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.program.order import Known, known_of
from vdnnsim.trace import Trace, TraceRow
from vdnnsim.units import PPM

OUT, IN, COMPUTE, WRITE, READ = range(5)
"""The engines by number; the last two are those of NVMe, which few programs use."""
ENGINES = {
    Stream.COPY_OUT: OUT,
    Stream.COPY_IN: IN,
    Stream.COMPUTE: COMPUTE,
    Stream.NVME_WRITE: WRITE,
    Stream.NVME_READ: READ,
}
ALONE = (PPM, PPM)
"""The slowdowns of a kernel that slows no copy, and of a link whose directions do not slow each other."""

Awaited = tuple[int, int]
"""An engine by its number, and how many of its pieces have to be done."""
Holds = dict[int, dict[int, int]]
"""Which pieces of an engine, counted from 0, may not begin before how many pieces of which other engines are done."""

_NOTHING: list[int] = []
"""Stands wherever an engine is given nothing before a wait; is never added to."""


class Durations(NamedTuple):
    """How long each piece of work of a script takes alone, by the engine's number, in the order given."""

    outs_ns: Sequence[int]
    ins_ns: Sequence[int]
    kernels_ns: Sequence[int]
    writes_ns: Sequence[int] = ()
    reads_ns: Sequence[int] = ()


class Work(NamedTuple):
    """What one engine is given: the step of each piece; and for each wait, of the pieces given before it, how long
    after the wait before they are ready."""

    steps: list[int]
    ready_ns: list[list[int]]

    def add(self, step: int, ready_ns: int) -> None:
        """A piece before the wait to come."""
        self.steps.append(step)
        if self.ready_ns[-1]:
            self.ready_ns[-1].append(ready_ns)
        else:
            self.ready_ns[-1] = [ready_ns]


class MemoryCalls(NamedTuple):
    """What takes buffers and gives them back: in which step, after the end of how many waits, how long after it."""

    commands: list[Allocate | Free]
    steps: list[int]
    waits: list[int]
    offsets_ns: list[int]


@dataclass(frozen=True)
class Script:
    """All calls of one iteration, cut at its waits. The host's calls before wait n take `calls_ns[n]`, then it waits
    for `waits[n]`, in step `wait_steps[n]`: one awaited engine after the other. The last of `waits` is None: the end.

    `work` is by the engine's number, and so are the `holds` of streams that wait; `outs`, `ins`, `kernels`, `writes`
    and `reads` say what it is, `late_ins` which copies in are late, `copies` the engine of each copy.
    """

    program: Program
    calls_ns: list[int]
    waits: list[tuple[Awaited, ...] | None]
    wait_steps: list[int]
    work: tuple[Work, ...]
    holds: tuple[Holds, ...]
    outs: list[Buffer]
    ins: list[Buffer]
    late_ins: list[bool]
    kernels: list[TraceRow]
    copies: list[int]
    memory: MemoryCalls
    writes: list[Buffer]
    reads: list[Buffer]

    @cached_property
    def first_calls(self) -> list[FirstCalls]:
        """What goes cold while the host waits, for profiles that say so."""
        return first_calls_of(self.program)

    @cached_property
    def known(self) -> Known:
        """What is known to be done at waits, whatever the times."""
        return known_of(self.program)

    @cached_property
    def kernels_given(self) -> list[int]:
        """How many kernels have been given when each wait begins."""
        return list(accumulate(map(len, self.work[COMPUTE].ready_ns[:-1])))

    @cached_property
    def given_by_step(self) -> GivenByStep:
        """How many kernels and waits there are when each step is over."""
        return given_by_step(len(self.program.steps), self.work[COMPUTE].steps, self.wait_steps)

    @cached_property
    def again(self) -> list[bool]:
        """Which kernels run once more, to make what was dropped."""
        return [command.again for command in self.program.commands if isinstance(command, Kernel)]

    @cached_property
    def slowdowns_ppm(self) -> list[tuple[int, int]]:
        """By how much each kernel slows copies out and in that run beside it."""
        return [(row.copy_out_slowdown_ppm, row.copy_in_slowdown_ppm) for row in self.kernels]

    @cached_property
    def _kernels_slow(self) -> bool:
        return any(slowdowns_ppm != ALONE for slowdowns_ppm in self.slowdowns_ppm)

    def slows_copies(self, link: Link) -> bool:
        """Whether anything slows a copy: a kernel, or on this link a copy the other way."""
        both_ways_ppm = (link.both_ways_out_slowdown_ppm, link.both_ways_in_slowdown_ppm)
        if self.outs and self.ins and both_ways_ppm != ALONE:
            return True
        return bool(self.copies) and self._kernels_slow

    def kernels_slowed_ppm(self, link: Link) -> list[tuple[int, int]]:
        """By how much copies on this link slow each kernel that runs beside them."""
        return [link.kernels.get(row.kind, ALONE) for row in self.kernels]

    def slowed_by_copies(self, link: Link) -> bool:
        """Whether a copy may slow a kernel on this link."""
        if not link.kernels or not self.copies:
            return False
        return any(slowed != ALONE for slowed in self.kernels_slowed_ppm(link))

    def durations(self, gpu: GpuProfile) -> Durations:
        """How long everything takes alone on this GPU. Raises `InvalidInput` where it lacks NVMe that is used."""
        return Durations(*self.copies_ns(gpu.link), [row.duration_ns for row in self.kernels], *self.nvme_ns(gpu))

    def nvme_ns(self, gpu: GpuProfile) -> tuple[list[int], list[int]]:
        """How long writes and reads of NVMe take. Raises as above."""
        if not self.writes:
            return [], []
        drive, wire_bytes = gpu.drive(), self.program.wire_bytes
        return (
            [drive.write_ns(wire_bytes(buffer)) for buffer in self.writes],
            [drive.read_ns(wire_bytes(buffer)) for buffer in self.reads],
        )

    def copies_ns(self, link: Link) -> tuple[list[int], list[int]]:
        """How long the copies out and in take alone on this link."""
        ways = ((self.outs, link.copy_out.duration_ns), (self.ins, link.copy_in.duration_ns))
        if (squeezed := self.program.compression) is None:
            outs, ins = ([takes_ns(buffer.size_bytes) for buffer in buffers] for buffers, takes_ns in ways)
        else:
            outs, ins = (
                [squeezed.copy_ns(buffer.name, buffer.size_bytes, takes_ns) for buffer in buffers]
                for buffers, takes_ns in ways
            )
        if paging := self.program.paging:
            handled_ns = (paging.handled_ns(buffer.size_bytes) for buffer in self.ins)
            ins = list(map(add, ins, handled_ns))
        return outs, ins


def script_of(program: Program, trace: Trace, host: HostCosts) -> Script:
    """The script of a program under a trace and a host's costs. Raises `InvalidInput` where the trace lacks one of its
    kernels, `BrokenProgram` where it waits for what has not been given."""
    memory = MemoryCalls([], [], [], [])
    pool_calls, pool_steps, pool_waits, pool_offsets_ns = memory
    work = tuple(Work([], [_NOTHING]) for _ in ENGINES)
    buffers: tuple[list[Buffer], list[Buffer]] = ([], [])
    on_nvme: tuple[list[Buffer], list[Buffer]] = ([], [])
    late_ins: list[bool] = []
    kernels: list[TraceRow] = []
    copies: list[int] = []
    calls_ns: list[int] = []
    holds: tuple[Holds, ...] = tuple({} for _ in ENGINES)
    waits: list[tuple[Awaited, ...] | None] = []
    wait_steps: list[int] = []
    pinned_bytes = program.pinned_sizes_bytes if host.pinning.in_step else {}
    kernels_ppm = program.kernels_ppm
    now_ns = 0
    for index, step in enumerate(program.steps):
        for command in program.commands[step.first : step.last]:
            if isinstance(command, (Allocate, Free)):
                now_ns += host.allocate_ns if isinstance(command, Allocate) else host.free_ns
                pool_calls.append(command)
                pool_steps.append(index)
                pool_waits.append(len(waits))
                pool_offsets_ns.append(now_ns)
            elif isinstance(command, Kernel):
                row = trace.row(command.layer, command.pass_, command.algorithm)
                called_ns = now_ns
                now_ns += host.kernel_ns if row.launch_ns is None else row.launch_ns
                work[COMPUTE].add(index, now_ns if row.start_ns is None else called_ns + row.start_ns)
                if kernels_ppm != PPM:
                    row = row._replace(duration_ns=row.duration_ns * kernels_ppm // PPM)
                kernels.append(row)
            elif isinstance(command, (Synchronise, HostWait)):
                if isinstance(command, Synchronise):
                    waits.append(_all_given(command.streams, work))
                else:
                    waits.append((_awaited(command.piece, work, step.title),))
                wait_steps.append(index)
                calls_ns.append(now_ns)
                now_ns = 0
                for engine in work:
                    engine.ready_ns.append(_NOTHING)
            elif isinstance(command, (CopyOut, CopyIn)):
                now_ns += host.copy_ns
                direction = OUT if isinstance(command, CopyOut) else IN
                if direction == OUT and pinned_bytes:
                    now_ns += host.pinning.call_cost_ns(pinned_bytes[program.host_buffer(command.buffer.name)])
                work[direction].add(index, now_ns + host.copy_start_ns)
                buffers[direction].append(command.buffer)
                if isinstance(command, CopyIn):
                    late_ins.append(command.late)
                copies.append(direction)
            elif isinstance(command, HostCall):
                now_ns += host.calls_ns.get(command.what, 0)
            elif isinstance(command, HostUpdate):
                now_ns += host.update_ns(command.parameters)
            elif isinstance(command, (NvmeWrite, NvmeRead)):  # a thread's own call
                writes = isinstance(command, NvmeWrite)
                work[WRITE if writes else READ].add(index, now_ns)
                on_nvme[not writes].append(command.buffer)
            else:
                now_ns += host.stream_wait_ns
                _hold(holds[ENGINES[command.stream]], command, work, step.title)
    waits.append(None)
    calls_ns.append(now_ns)
    return Script(
        program, calls_ns, waits, wait_steps, work, holds, *buffers, late_ins, kernels, copies, memory, *on_nvme
    )


def _all_given(streams: Sequence[Stream], work: Sequence[Work]) -> tuple[Awaited, ...]:
    awaited = []
    for stream in streams:
        engine = ENGINES[stream]
        awaited.append((engine, len(work[engine].steps)))
    return tuple(awaited)


def _hold(holds: Holds, command: StreamWait, work: Sequence[Work], where: str) -> None:
    """What is put on the stream next has to wait, and with it all that comes after it there. A stream is in order, so
    that for itself it waits anyway, and for another one only for the last of several pieces."""
    engine, done = _awaited(command.piece, work, where)
    own = ENGINES[command.stream]
    if engine != own:
        awaited = holds.setdefault(len(work[own].steps), {})
        awaited[engine] = max(done, awaited.get(engine, 0))


def _awaited(piece: Piece, work: Sequence[Work], where: str) -> Awaited:
    engine = ENGINES[piece.stream]
    given = len(work[engine].steps)
    if not 1 <= piece.number <= given:
        raise BrokenProgram(where, str(NotGiven(piece, given)))
    return engine, piece.number
