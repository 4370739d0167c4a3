"""A program lowered to what its times depend on: stretches between moments at which nothing is under way.

Where the host has waited for every stream that had work, the engines are idle and nothing of the past is left but the
clock. A program's iteration is then a sum over such *segments*, and segments of the same commands take the same
time: each distinct one is worked out once and weighed by how often it occurs. Kernels are known by what the trace
says of them, copies by their size; the host's own costs are added up here, since no axis changes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vdnnsim.gpu import HostCosts
from vdnnsim.program import Allocate, Buffer, Command, CopyIn, CopyOut, Free, Kernel, Program, Stream, Synchronise
from vdnnsim.trace import Trace, TraceRow


class KernelKind(NamedTuple):
    """What times depend on in a kernel: its duration alone, and what it does to a copy beside it."""

    duration_ns: int
    copy_out_slowdown_ppm: int
    copy_in_slowdown_ppm: int


class Launch(NamedTuple):
    """Work put on a stream that may begin `ready_ns` after the host's last wait (or the segment's start). `number` is
    that of the kernel's kind, or of the copy's size; `late` a fetch that is."""

    stream: Stream
    ready_ns: int
    number: int
    late: bool = False


class Wait(NamedTuple):
    """The host waits for these streams, from `offset_ns` after its last wait."""

    streams: tuple[Stream, ...]
    offset_ns: int
    in_classifier: bool


class Flip(NamedTuple):
    """A step ended, and the next is on the other side of the border between feature extraction and classifier."""


Item = Launch | Wait | Flip


class Segment(NamedTuple):
    """From one moment at which nothing is under way to the next, or to the end of the program (not `closed`), which is
    `rest_ns` of the host's own time after its last wait."""

    items: tuple[Item, ...]
    starts_in_classifier: bool
    closed: bool
    rest_ns: int


class Held(NamedTuple):
    """Bytes in use: all, and those of the feature-extraction layers."""

    all_bytes: int
    feature_extraction_bytes: int

    def __add__(self, other: object) -> Held:
        if not isinstance(other, Held):
            return NotImplemented
        return Held(self.all_bytes + other.all_bytes, self.feature_extraction_bytes + other.feature_extraction_bytes)

    def during(self, duration_ns: int) -> Held:
        return Held(self.all_bytes * duration_ns, self.feature_extraction_bytes * duration_ns)


class Weighted(NamedTuple):
    """A distinct segment, how often it occurs, and for each of its waits the sum of what was held during it."""

    segment: Segment
    times: int
    held: tuple[Held, ...]


@dataclass(frozen=True)
class Lowered:
    """`host_ns` is the host's own time outside waits, `host_area` byte-nanoseconds held during it, `end` what is held
    at the end, `waits_held` during each wait in the program's order, and `most_bytes` the most that ever is.
    `both_ways`: copies of both directions may be under way at once."""

    kernels: tuple[KernelKind, ...]
    kernel_counts: tuple[int, ...]
    out_sizes_bytes: tuple[int, ...]
    in_sizes_bytes: tuple[int, ...]
    segments: tuple[Weighted, ...]
    host_ns: int
    host_area: Held
    end: Held
    waits_held: tuple[Held, ...]
    most_bytes: int
    both_ways: bool


def lower(program: Program, trace: Trace, host: HostCosts) -> Lowered:
    """The program under a trace and a host's costs. Raises `InvalidInput` where the trace lacks a kernel."""
    return _Lowering(trace, host).lower(program)


class _Lowering:
    def __init__(self, trace: Trace, host: HostCosts) -> None:
        self.trace = trace
        self.host = host
        self.kinds: dict[KernelKind, int] = {}
        self.counts: list[int] = []
        self.sizes: dict[Stream, dict[int, int]] = {Stream.COPY_OUT: {}, Stream.COPY_IN: {}}
        self.found: dict[Segment, tuple[int, tuple[Held, ...]]] = {}
        self.both_ways = False
        self.host_ns = 0
        self.host_area = Held(0, 0)
        self.held = Held(0, 0)
        self.most_bytes = 0
        self.all_waits_held: list[Held] = []
        self.in_classifier = False
        self._begin()

    def _begin(self) -> None:
        self.items: list[Item] = []
        self.waits_held: list[Held] = []
        self.started_in_classifier = self.in_classifier
        self.offset_ns = 0
        self.under_way: set[Stream] = set()
        self.directions: set[Stream] = set()

    def lower(self, program: Program) -> Lowered:
        for buffer in program.setup:
            self._hold(buffer, 1)
        if program.steps:
            self.started_in_classifier = self.in_classifier = program.steps[0].in_classifier
        for step in program.steps:
            if step.in_classifier != self.in_classifier:
                self.items.append(Flip())
                self.in_classifier = step.in_classifier
            for command in program.commands[step.first : step.last]:
                self._command(command)
        self._end(closed=False)
        return Lowered(
            tuple(self.kinds),
            tuple(self.counts),
            tuple(self.sizes[Stream.COPY_OUT]),
            tuple(self.sizes[Stream.COPY_IN]),
            tuple(Weighted(segment, count, held) for segment, (count, held) in self.found.items()),
            self.host_ns,
            self.host_area,
            self.held,
            tuple(self.all_waits_held),
            self.most_bytes,
            self.both_ways,
        )

    def _command(self, command: Command) -> None:
        if isinstance(command, Allocate):
            self._spend(self.host.allocate_ns)
            self._hold(command.buffer, 1)
        elif isinstance(command, Free):
            self._spend(self.host.free_ns)
            self._hold(command.buffer, -1)
        elif isinstance(command, Kernel):
            self._launch_kernel(command)
        elif isinstance(command, Synchronise):
            self._wait(command.streams)
        elif isinstance(command, CopyOut | CopyIn):
            self._spend(self.host.copy_ns)
            stream = Stream.COPY_OUT if isinstance(command, CopyOut) else Stream.COPY_IN
            sizes = self.sizes[stream]
            size = sizes.setdefault(command.buffer.size_bytes, len(sizes))
            late = isinstance(command, CopyIn) and command.late
            self._launch(stream, self.offset_ns + self.host.copy_start_ns, size, late)
            self.directions.add(stream)
            self.both_ways |= len(self.directions) > 1

    def _launch_kernel(self, kernel: Kernel) -> None:
        row = self.trace.row(kernel.layer, kernel.pass_, kernel.algorithm)
        called_ns = self.offset_ns
        self._spend(self.host.kernel_ns if row.launch_ns is None else row.launch_ns)
        ready_ns = self.offset_ns if row.start_ns is None else called_ns + row.start_ns
        self._launch(Stream.COMPUTE, ready_ns, self._kind(row))

    def _kind(self, row: TraceRow) -> int:
        kind = KernelKind(row.duration_ns, row.copy_out_slowdown_ppm, row.copy_in_slowdown_ppm)
        index = self.kinds.setdefault(kind, len(self.kinds))
        if index == len(self.counts):
            self.counts.append(0)
        self.counts[index] += 1
        return index

    def _spend(self, cost_ns: int) -> None:
        self.offset_ns += cost_ns
        self.host_ns += cost_ns
        self.host_area += self.held.during(cost_ns)

    def _hold(self, buffer: Buffer, sign: int) -> None:
        size_bytes = sign * buffer.size_bytes
        self.held += Held(size_bytes, 0 if buffer.in_classifier else size_bytes)
        self.most_bytes = max(self.most_bytes, self.held.all_bytes)

    def _launch(self, stream: Stream, ready_ns: int, number: int, late: bool = False) -> None:
        self.items.append(Launch(stream, ready_ns, number, late))
        self.under_way.add(stream)

    def _wait(self, streams: Sequence[Stream]) -> None:
        self.items.append(Wait(tuple(streams), self.offset_ns, self.in_classifier))
        self.waits_held.append(self.held)
        self.offset_ns = 0
        self.under_way.difference_update(streams)
        if not self.under_way:
            self._end(closed=True)

    def _end(self, closed: bool) -> None:
        segment = Segment(tuple(self.items), self.started_in_classifier, closed, self.offset_ns)
        held = tuple(self.waits_held)
        self.all_waits_held += held
        count, before = self.found.get(segment, (0, tuple(Held(0, 0) for _ in held)))
        self.found[segment] = (count + 1, tuple(one + other for one, other in zip(before, held, strict=True)))
        self._begin()
