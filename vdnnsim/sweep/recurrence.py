"""The vectorised engine: completion times of a lowered program for many design points at once.

Streams are in-order queues and the host gives its commands in order, so that each launch begins at the later of two
times and each wait ends at the latest of a few: a max-plus recurrence along the streams, evaluated here in 64-bit
integers with one array element for each point. It is the simulated machine's arithmetic, not an approximation of it.

It holds where nothing couples the streams but the host and kernels that slow copies. What it leaves out is two copies
of opposite directions that slow each other, whose rates hang on each other's ends: `covers` says no to a program in
which two such copies may meet on a link that slows them, and callers turn to the simulated machine. So do they for
numbers that would leave 63 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vdnnsim.gpu import Link
from vdnnsim.program import Stream
from vdnnsim.sweep.copying import LARGEST_SLOWDOWN_PPM, LONGEST_NS, Busy, Ns, copy_end_ns
from vdnnsim.sweep.segments import Held, Launch, Lowered, Segment, Wait
from vdnnsim.units import PPM

_MOST_BYTES = 1 << 42
_LOW_BITS = 20
_LOW_MASK = (1 << _LOW_BITS) - 1
_COPIES = (Stream.COPY_OUT, Stream.COPY_IN)
_OUT, _IN, _LATE = _CAUSES = ("copies out", "copies in", "late fetches")
_INSIDE, _OUTSIDE = "feature extraction", "classifier"


class Times(NamedTuple):
    """What of a point's numbers depends on time, one element for each point; averages are over the iteration. Stalls
    are told apart by what they wait for, as `metrics.Loss` does; what neither kernels nor stalls nor `synchronise_ns`
    explain are the host's calls."""

    iteration_time_ns: np.ndarray
    stall_ns: np.ndarray
    kernel_ns: np.ndarray
    average_bytes: np.ndarray
    feature_extraction_time_ns: np.ndarray
    feature_extraction_stall_ns: np.ndarray
    feature_extraction_average_bytes: np.ndarray
    copies_out_ns: np.ndarray
    copies_in_ns: np.ndarray
    late_fetches_ns: np.ndarray
    synchronise_ns: np.ndarray


class GridDurations(NamedTuple):
    """The durations of each kernel kind and of each distinct copy, by stream. All elements broadcast against each
    other: kernels of shape (1, scales) and copies of shape (links, 1) give every combination of a scale with a link."""

    kernels: Sequence[np.ndarray]
    outs: Sequence[np.ndarray]
    ins: Sequence[np.ndarray]

    def of(self, stream: Stream) -> Sequence[np.ndarray]:
        return self.kernels if stream is Stream.COMPUTE else self.outs if stream is Stream.COPY_OUT else self.ins


def covers(lowered: Lowered, link: Link) -> bool:
    """Whether the recurrence is exact for every point of this program on links with these slowdowns."""
    couples = (link.both_ways_out_slowdown_ppm, link.both_ways_in_slowdown_ppm) != (PPM, PPM)
    largest = max((max(kind[1:]) for kind in lowered.kernels), default=PPM)
    return not (lowered.both_ways and couples) and largest <= LARGEST_SLOWDOWN_PPM and lowered.most_bytes < _MOST_BYTES


def longest_ns(lowered: Lowered, durations: GridDurations, synchronise_ns: int) -> int:
    """More than any point's iteration takes: everything one after the other. Callers check it against `LONGEST_NS`."""
    slowest = max((max(kind[1:]) for kind in lowered.kernels), default=PPM) / PPM
    longest = {stream: [int(part.max()) for part in durations.of(stream)] for stream in Stream}
    total = float(lowered.host_ns)
    for segment, count, _ in lowered.segments:
        for item in segment.items:
            if isinstance(item, Launch):
                factor = 1.0 if item.stream is Stream.COMPUTE else max(slowest, 1.0)
                total += count * (item.ready_ns + longest[item.stream][item.number] * factor)
            elif isinstance(item, Wait):
                total += count * len(item.streams) * synchronise_ns
    return int(total * 1.001) + 1


def evaluate(lowered: Lowered, durations: GridDurations, synchronise_ns: int, shape: tuple[int, ...]) -> Times:
    """The times of every point; arrays of `shape`, to which all durations broadcast. Needs `covers`, and `longest_ns`
    below `LONGEST_NS`."""
    totals = _Totals()
    for segment, count, held in lowered.segments:
        outcome = _Run(lowered, durations, synchronise_ns).run(segment)
        totals.add("extra", outcome.extra_ns, count)
        totals.add("inner", outcome.feature_extraction_ns, count)
        totals.add("running", outcome.running_ns, count)
        for stall in outcome.stalls:
            totals.add(f"{stall.place} {stall.cause}", stall.stall_ns, count)
            if stall.at_end:
                totals.add("stall at end", stall.stall_ns, count)
        for wait_ns, its_held in zip(outcome.waits_ns, held, strict=True):
            totals.add("wait", wait_ns, count)
            totals.add_area(wait_ns, its_held)
        totals.add_area(outcome.extra_ns, lowered.end)
    for kernel_ns, count in zip(durations.kernels, lowered.kernel_counts, strict=True):
        totals.add("kernels", kernel_ns, count)
    totals.add_area(1, lowered.host_area)
    wait_ns = totals.sum("wait", shape)
    iteration_ns = wait_ns + totals.sum("extra", shape) + lowered.host_ns
    inner_out_ns, inner_in_ns, inner_late_ns = (totals.sum(f"{_INSIDE} {cause}", shape) for cause in _CAUSES)
    out_ns = inner_out_ns + totals.sum(f"{_OUTSIDE} {_OUT}", shape)
    in_ns = inner_in_ns + totals.sum(f"{_OUTSIDE} {_IN}", shape)
    late_ns = inner_late_ns + totals.sum(f"{_OUTSIDE} {_LATE}", shape)
    stall_ns = out_ns + in_ns + late_ns
    stalls_in_waits_ns = stall_ns - totals.sum("stall at end", shape)
    return Times(
        iteration_ns,
        stall_ns,
        totals.sum("kernels", shape),
        totals.average("area", iteration_ns, lowered.end.all_bytes),
        totals.sum("inner", shape),
        inner_out_ns + inner_in_ns + inner_late_ns,
        totals.average("inner area", iteration_ns, lowered.end.feature_extraction_bytes),
        out_ns,
        in_ns,
        late_ns,
        wait_ns - totals.sum("running", shape) - stalls_in_waits_ns,
    )


class _Totals:
    """Sums by name. Parts of one shape are added up by themselves, so that what depends on the scale alone costs one
    addition for each scale and not for each point. Areas (bytes times nanoseconds) leave 63 bits, so that the low
    bits of the bytes are summed apart."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[tuple[int, ...], Ns]] = {}

    def add(self, name: str, value: Ns, weight: int) -> None:
        if isinstance(value, int):
            shape: tuple[int, ...] = ()
            if value == 0:
                return
        else:
            shape = value.shape
        parts = self._parts.setdefault(name, {})
        weighted = value if weight == 1 else value * weight
        if shape not in parts:
            parts[shape] = weighted + 0  # a copy: it grows in place
        else:
            parts[shape] += weighted

    def add_area(self, duration_ns: Ns, held: Held) -> None:
        for name, weight in (("area", held.all_bytes), ("inner area", held.feature_extraction_bytes)):
            self.add(f"high {name}", duration_ns, weight >> _LOW_BITS)
            self.add(f"low {name}", duration_ns, weight & _LOW_MASK)

    def sum(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        total: Ns = 0
        for part in sorted(self._parts.get(name, {}).values(), key=np.ndim):
            total = total + part
        return np.broadcast_to(np.asarray(total, dtype=np.int64), shape)

    def average(self, name: str, iteration_ns: np.ndarray, end_bytes: int) -> np.ndarray:
        """The area over the time, rounded down; what is held at the end where no time passes."""
        time_ns = np.maximum(iteration_ns, 1)
        high, rest = np.divmod(self.sum(f"high {name}", iteration_ns.shape), time_ns)
        low = ((rest << _LOW_BITS) + self.sum(f"low {name}", iteration_ns.shape)) // time_ns
        return np.where(iteration_ns > 0, (high << _LOW_BITS) + low, end_bytes)


class _Stall(NamedTuple):
    cause: str
    stall_ns: Ns
    place: str
    at_end: bool


class _Outcome(NamedTuple):
    """`running_ns` is for how much of its waits kernels given before still run; `extra_ns` how much later than the
    host's own end the segment ends: only for one that is not closed."""

    waits_ns: list[Ns]
    stalls: list[_Stall]
    running_ns: Ns
    extra_ns: Ns
    feature_extraction_ns: Ns


class _Run:
    """One segment from its start, at relative time 0, with every engine idle."""

    def __init__(self, lowered: Lowered, durations: GridDurations, synchronise_ns: int) -> None:
        self.kinds = lowered.kernels
        self.durations = durations
        self.synchronise_ns = synchronise_ns
        self.host_ns: Ns = 0
        self.free_ns: dict[Stream, Ns] = dict.fromkeys(Stream, 0)
        self.under_way: set[Stream] = set()
        self.busy: list[tuple[Ns, Ns, int]] = []
        self.copies: dict[Stream, list[tuple[Ns, Ns]]] = {stream: [] for stream in _COPIES}
        self.cause = {Stream.COPY_OUT: _OUT, Stream.COPY_IN: _IN}
        self.stalls: list[_Stall] = []
        self.running_ns: Ns = 0

    def run(self, segment: Segment) -> _Outcome:
        waits_ns: list[Ns] = []
        waited_until_ns: Ns = 0
        inner_ns: Ns = 0
        since_ns: Ns = 0
        inside = not segment.starts_in_classifier
        for item in segment.items:
            if isinstance(item, Launch):
                self._launch(item)
            elif isinstance(item, Wait):
                waits_ns.append(self._wait(item))
                waited_until_ns = self.host_ns
            else:
                ended_ns = _later(self.free_ns[Stream.COMPUTE], waited_until_ns)
                inner_ns = inner_ns + ended_ns - since_ns if inside else inner_ns
                since_ns, inside = ended_ns, not inside
        end_ns: Ns = self.host_ns
        extra_ns: Ns = 0
        if not segment.closed:
            host_end_ns = self.host_ns + segment.rest_ns
            copies = [stream for stream in _COPIES if stream in self.under_way]
            idle_ns = _later(host_end_ns, self.free_ns[Stream.COMPUTE])
            for stream in copies:
                self._finish_copies(stream)
            self._stall(idle_ns, copies, in_classifier=not inside, at_end=True)
            end_ns = _later(_later(self.free_ns[Stream.COMPUTE], waited_until_ns), host_end_ns)
            for stream in copies:
                end_ns = _later(end_ns, self.free_ns[stream])
            extra_ns = end_ns - host_end_ns
        inner_ns = inner_ns + end_ns - since_ns if inside else inner_ns
        return _Outcome(waits_ns, self.stalls, self.running_ns, extra_ns, inner_ns)

    def _launch(self, item: Launch) -> None:
        self.under_way.add(item.stream)
        ready_ns = self.host_ns + item.ready_ns
        duration_ns = self.durations.of(item.stream)[item.number]
        if item.stream is Stream.COMPUTE:
            begin_ns = _later(ready_ns, self.free_ns[Stream.COMPUTE])
            self.free_ns[Stream.COMPUTE] = end_ns = begin_ns + duration_ns
            self.busy.append((begin_ns, end_ns, item.number))
        else:
            self.copies[item.stream].append((ready_ns, duration_ns))
            if item.stream is Stream.COPY_IN:
                self.cause[item.stream] = _LATE if item.late else _IN

    def _wait(self, item: Wait) -> Ns:
        begin_ns = now_ns = self.host_ns + item.offset_ns
        idle_ns = _later(begin_ns, self.free_ns[Stream.COMPUTE])
        copies = []
        for stream in item.streams:
            if stream in self.under_way:
                self._finish_copies(stream)
                now_ns = _later(now_ns, self.free_ns[stream])
                self.under_way.discard(stream)
                if stream is not Stream.COMPUTE:
                    copies.append(stream)
            now_ns = now_ns + self.synchronise_ns
        self.host_ns = now_ns
        self._stall(idle_ns, copies, item.in_classifier, at_end=False)
        idle_by_end_ns = idle_ns if Stream.COMPUTE in item.streams else _sooner(idle_ns, now_ns)
        self.running_ns = self.running_ns + (idle_by_end_ns - begin_ns)
        return now_ns - begin_ns

    def _stall(self, idle_ns: Ns, copies: Sequence[Stream], in_classifier: bool, at_end: bool) -> None:
        """How long the compute engine stands still, from `idle_ns` on, for these copies: `machines.stalls`."""
        for stream in copies:
            own_ns = _later(self.free_ns[stream] - idle_ns, 0)
            if len(copies) > 1:
                other_ns = self.free_ns[next(other for other in copies if other is not stream)]
                binds = self.free_ns[stream] >= other_ns + (stream is Stream.COPY_OUT)
                own_ns = own_ns * binds
            place = _OUTSIDE if in_classifier else _INSIDE
            self.stalls.append(_Stall(self.cause[stream], own_ns, place, at_end))

    def _finish_copies(self, stream: Stream) -> None:
        """Works out copies when the host waits for them: every kernel that can run beside them has been launched."""
        if stream is Stream.COMPUTE or not self.copies[stream]:
            return
        column = 1 + _COPIES.index(stream)
        beside = [Busy(begin_ns, end_ns, self.kinds[index][column]) for begin_ns, end_ns, index in self.busy]
        for ready_ns, alone_ns in self.copies[stream]:
            self.free_ns[stream] = copy_end_ns(_later(ready_ns, self.free_ns[stream]), alone_ns, beside)
        self.copies[stream].clear()


def _later(one: Ns, other: Ns) -> Ns:
    if isinstance(one, int) and isinstance(other, int):
        return max(one, other)
    return np.maximum(one, other)


def _sooner(one: Ns, other: Ns) -> Ns:
    if isinstance(one, int) and isinstance(other, int):
        return min(one, other)
    return np.minimum(one, other)


__all__ = ["LONGEST_NS", "GridDurations", "Times", "covers", "evaluate", "longest_ns"]
