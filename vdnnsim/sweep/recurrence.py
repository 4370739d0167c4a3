"""The vectorised engine: completion times of a lowered program for many design points at once.

Streams are in-order queues and the host gives its commands in order, so that each launch begins at the latest of a few
times, its own, its stream's and those of the pieces that it waits for, and each wait ends at the latest of a few: a
max-plus recurrence along the streams, evaluated here in 64-bit integers with one array element for each point. It is
the simulated machine's arithmetic, not an approximation of it.

It holds where nothing couples the streams but the host and kernels that slow copies. What it leaves out is two copies
of opposite directions that slow each other, whose rates hang on each other's ends: `covers` says no to a program in
which two such copies may meet on a link that slows them, and callers turn to the simulated machine. So do they for
numbers that would leave 63 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vdnnsim.gpu import Link
from vdnnsim.machines.script import COMPUTE, IN, OUT, Awaited
from vdnnsim.sweep.copying import LARGEST_SLOWDOWN_PPM, LONGEST_NS, Busy, Ns, copy_end_ns
from vdnnsim.sweep.held import Held
from vdnnsim.sweep.overlaps import Overlaps
from vdnnsim.sweep.segments import Launch, Lowered, Segment, Wait
from vdnnsim.units import PPM

_MOST_BYTES = 1 << 42
_LOW_BITS = 20
_LOW_MASK = (1 << _LOW_BITS) - 1
_OUT, _IN, _LATE = _CAUSES = ("copies out", "copies in", "late fetches")
_INSIDE, _OUTSIDE = "feature extraction", "classifier"


class Times(NamedTuple):
    """What of a point's numbers depends on time, one element for each point; averages are over the iteration. Stalls
    are told apart by what they wait for, as `metrics.Loss` does; what neither kernels nor stalls nor `synchronise_ns`
    explain are the host's calls. `beside_kernels` is 1 where a kernel ran beside a copy, else 0; `again_ns` is in
    `kernel_ns`."""

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
    copying_ns: np.ndarray
    beside_kernels: np.ndarray
    again_ns: np.ndarray


class GridDurations(NamedTuple):
    """The durations of each distinct copy and of each kernel kind, by the engine's number. All elements broadcast
    against each other: kernels of shape (1, scales) and copies of shape (links, 1) give every combination of a scale
    with a link."""

    outs: Sequence[np.ndarray]
    ins: Sequence[np.ndarray]
    kernels: Sequence[np.ndarray]


def covers(lowered: Lowered, link: Link) -> bool:
    """Whether the recurrence is exact for every point of this program on links with these slowdowns."""
    couples = (link.both_ways_out_slowdown_ppm, link.both_ways_in_slowdown_ppm) != (PPM, PPM)
    largest = max((max(kind[1:]) for kind in lowered.kernels), default=PPM)
    return (
        not lowered.uncovered
        and not (lowered.both_ways and couples)
        and largest <= LARGEST_SLOWDOWN_PPM
        and lowered.held.most_bytes < _MOST_BYTES
    )


def longest_ns(lowered: Lowered, durations: GridDurations, synchronise_ns: int) -> int:
    """More than any point's iteration takes: everything one after the other. Callers check it against `LONGEST_NS`."""
    slowest = max((max(kind[1:]) for kind in lowered.kernels), default=PPM) / PPM
    longest = [[int(part.max()) for part in its] for its in durations]
    total = float(lowered.host_ns)
    for segment, count, _ in lowered.segments:
        for item in segment.items:
            if isinstance(item, Launch):
                factor = 1.0 if item.engine == COMPUTE else max(slowest, 1.0)
                total += count * (item.ready_ns + longest[item.engine][item.number] * factor)
            elif isinstance(item, Wait):
                total += count * len(item.awaited) * synchronise_ns
    return int(total * 1.001) + 1


def evaluate(lowered: Lowered, durations: GridDurations, synchronise_ns: int, shape: tuple[int, ...]) -> Times:
    """The times of every point; arrays of `shape`, to which all durations broadcast. Needs `covers`, and `longest_ns`
    below `LONGEST_NS`."""
    totals = _Totals()
    beside: np.ndarray | bool = False
    for segment, count, held in lowered.segments:
        overlaps = Overlaps(lowered.both_ways, beside)
        outcome = _Run(lowered, durations, synchronise_ns, overlaps).run(segment)
        beside = overlaps.beside
        totals.add("copying", overlaps.copying_ns, count)
        totals.add("extra", outcome.extra_ns, count)
        totals.add("inner", outcome.feature_extraction_ns, count)
        totals.add("running", outcome.running_ns, count)
        for stall in outcome.stalls:
            totals.add(f"{stall.place} {stall.cause}", stall.stall_ns, count)
            if stall.in_wait:
                totals.add("stall in waits", stall.stall_ns, count)
        for wait_ns, its_held in zip(outcome.waits_ns, held, strict=True):
            totals.add("wait", wait_ns, count)
            totals.add_area(wait_ns, its_held)
        totals.add_area(outcome.extra_ns, lowered.held.end)
    counts = zip(durations.kernels, lowered.kernel_counts, lowered.again_counts, strict=True)
    for kernel_ns, count, again in counts:
        totals.add("kernels", kernel_ns, count)
        if again:
            totals.add("again", kernel_ns, again)
    totals.add_area(1, lowered.held.host_area)
    wait_ns = totals.sum("wait", shape)
    iteration_ns = wait_ns + totals.sum("extra", shape) + lowered.host_ns
    inner_out_ns, inner_in_ns, inner_late_ns = (totals.sum(f"{_INSIDE} {cause}", shape) for cause in _CAUSES)
    out_ns = inner_out_ns + totals.sum(f"{_OUTSIDE} {_OUT}", shape)
    in_ns = inner_in_ns + totals.sum(f"{_OUTSIDE} {_IN}", shape)
    late_ns = inner_late_ns + totals.sum(f"{_OUTSIDE} {_LATE}", shape)
    end = lowered.held.end
    return Times(
        iteration_ns,
        out_ns + in_ns + late_ns,
        totals.sum("kernels", shape),
        totals.average("area", iteration_ns, end.all_bytes),
        totals.sum("inner", shape),
        inner_out_ns + inner_in_ns + inner_late_ns,
        totals.average("inner area", iteration_ns, end.feature_extraction_bytes),
        out_ns,
        in_ns,
        late_ns,
        wait_ns - totals.sum("running", shape) - totals.sum("stall in waits", shape),
        totals.sum("copying", shape),
        np.broadcast_to(np.asarray(beside, dtype=np.int64), shape),
        totals.sum("again", shape),
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
    in_wait: bool


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

    def __init__(self, lowered: Lowered, durations: GridDurations, synchronise_ns: int, overlaps: Overlaps) -> None:
        self.overlaps = overlaps
        self.kinds = lowered.kernels
        self.durations = durations
        self.synchronise_ns = synchronise_ns
        self.waited_ns: list[Ns] = [0]
        self.ends_ns: tuple[list[Ns], list[Ns], list[Ns]] = ([0], [0], [0])
        self.slowing: tuple[list[Busy], list[Busy]] = ([], [])
        self.over = [0, 0]
        self.late = [False]
        self.inside = True
        self.stalls: list[_Stall] = []
        self.running_ns: Ns = 0

    def run(self, segment: Segment) -> _Outcome:
        waits_ns: list[Ns] = []
        inner_ns: Ns = 0
        since_ns: Ns = 0
        self.inside = not segment.starts_in_classifier
        for item in segment.items:
            if isinstance(item, Launch):
                self._launch(item)
            elif isinstance(item, Wait):
                waits_ns.append(self._wait(item))
            else:
                ended_ns = _later(self.ends_ns[COMPUTE][-1], self.waited_ns[-1])
                inner_ns = inner_ns + ended_ns - since_ns if self.inside else inner_ns
                since_ns, self.inside = ended_ns, not self.inside
        end_ns = self.waited_ns[-1]
        extra_ns: Ns = 0
        if not segment.closed:
            host_end_ns = self.waited_ns[-1] + segment.rest_ns
            end_ns = _later(host_end_ns, self.ends_ns[COMPUTE][-1])
            given = ((engine, len(self.ends_ns[engine]) - 1) for engine in (OUT, IN))
            copies = [(engine, done) for engine, done in given if done]
            self._stall(end_ns, copies, in_wait=False)
            for engine, done in copies:
                end_ns = _later(end_ns, self.ends_ns[engine][done])
            extra_ns = end_ns - host_end_ns
        inner_ns = inner_ns + end_ns - since_ns if self.inside else inner_ns
        return _Outcome(waits_ns, self.stalls, self.running_ns, extra_ns, inner_ns)

    def _launch(self, item: Launch) -> None:
        engine = item.engine
        ends_ns = self.ends_ns[engine]
        duration_ns = self.durations[engine][item.number]
        begin_ns = _later(self.waited_ns[item.since] + item.ready_ns, ends_ns[-1])
        if item.after and engine == COMPUTE:
            self._stall(begin_ns, item.after, in_wait=False)
        for other, done in item.after:
            begin_ns = _later(begin_ns, self.ends_ns[other][done])
        if engine == COMPUTE:
            end_ns: Ns = begin_ns + duration_ns
            for way, slowdown_ppm in zip((OUT, IN), self.kinds[item.number][1:], strict=True):
                if slowdown_ppm != PPM:
                    self.slowing[way].append(Busy(begin_ns, end_ns, slowdown_ppm))
        else:
            end_ns = copy_end_ns(begin_ns, duration_ns, self._beside(engine, begin_ns))
            if engine == IN:
                self.late.append(item.late)
        ends_ns.append(end_ns)
        self.overlaps.add(engine, begin_ns, end_ns)

    def _beside(self, engine: int, begin_ns: Ns) -> Sequence[Busy]:
        """The kernels that may slow a copy that begins then. Those over by then are for no later copy, either."""
        kernels = self.slowing[engine]
        over = self.over[engine]
        while over < len(kernels) and np.all(kernels[over].end_ns <= begin_ns):
            over += 1
        self.over[engine] = over
        return kernels[over:]

    def _wait(self, item: Wait) -> Ns:
        kernels_ns = self.ends_ns[COMPUTE]
        begin_ns = now_ns = self.waited_ns[-1] + item.offset_ns
        idle_ns = _later(begin_ns, kernels_ns[-1])
        copies = []
        for engine, done in item.awaited:
            if done:
                now_ns = _later(now_ns, self.ends_ns[engine][done])
                if engine != COMPUTE:
                    copies.append((engine, done))
            now_ns = now_ns + self.synchronise_ns
        self.waited_ns.append(now_ns)
        self._stall(idle_ns, copies, in_wait=True)
        idle_by_end_ns = idle_ns if (COMPUTE, len(kernels_ns) - 1) in item.awaited else _sooner(idle_ns, now_ns)
        self.running_ns = self.running_ns + (idle_by_end_ns - begin_ns)
        return now_ns - begin_ns

    def _stall(self, idle_ns: Ns, copies: Sequence[Awaited], in_wait: bool) -> None:
        """How long the compute engine stands still, from `idle_ns` on, for these copies: `machines.stalls`."""
        for engine, done in copies:
            end_ns = self.ends_ns[engine][done]
            own_ns = _later(end_ns - idle_ns, 0)
            for other, its in copies:
                if other != engine:
                    own_ns = own_ns * (end_ns >= self.ends_ns[other][its] + (engine == OUT))
            cause = _OUT if engine == OUT else _LATE if self.late[done] else _IN
            self.stalls.append(_Stall(cause, own_ns, _INSIDE if self.inside else _OUTSIDE, in_wait))


def _later(one: Ns, other: Ns) -> Ns:
    if isinstance(one, int) and isinstance(other, int):
        return max(one, other)
    return np.maximum(one, other)


def _sooner(one: Ns, other: Ns) -> Ns:
    if isinstance(one, int) and isinstance(other, int):
        return min(one, other)
    return np.minimum(one, other)


__all__ = ["LONGEST_NS", "GridDurations", "Times", "covers", "evaluate", "longest_ns"]
