"""Where an iteration goes: every nanosecond of the compute engine is a kernel, told apart where it makes once more what
was dropped, or idle for one cause.

* copies out, copies in, late fetches: in a stall, by the copy that it waits for (`timeline.StallRecord`);
* synchronising: in a wait of the host given before the engine's next kernel, and in no stall;
* host: in neither, while the host gives commands, or a kernel just launched has not begun.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from vdnnsim.timeline import COPY_OUT, StallRecord, Timeline


class Spent(NamedTuple):
    """How an iteration's time was spent, in nanoseconds; the parts add up to the iteration. `metrics.Loss` has the same
    parts."""

    kernels_ns: int
    copies_out_ns: int
    copies_in_ns: int
    late_fetches_ns: int
    host_ns: int
    synchronise_ns: int
    again_ns: int = 0

    @property
    def worked_ns(self) -> int:
        """For how long kernels ran."""
        return self.kernels_ns + self.again_ns


class Shares(NamedTuple):
    """How the compute engine spent an iteration, in parts of it that add up to 1: it worked, waited for the host (the
    next launch not given, or just given), or for copies."""

    worked: float
    waited_for_host: float
    waited_for_copies: float


def shares(its: Spent) -> Shares:
    """The shares of an iteration that was spent so; of one that takes no time it is all work."""
    total_ns = sum(its)
    if not total_ns:
        return Shares(1.0, 0.0, 0.0)
    copies_ns = its.copies_out_ns + its.copies_in_ns + its.late_fetches_ns
    return Shares(its.worked_ns / total_ns, (its.host_ns + its.synchronise_ns) / total_ns, copies_ns / total_ns)


class Idle(NamedTuple):
    """How long the compute engine was idle for the host."""

    host_ns: int
    synchronise_ns: int


def spent(timeline: Timeline) -> Spent:
    """How this iteration's time was spent."""
    stalls = timeline.stalls
    kernels_ns = [0, 0]
    for kernel in timeline.kernels:
        kernels_ns[kernel.again] += kernel.end_ns - kernel.begin_ns
    return Spent(
        kernels_ns[False],
        _sum(stall for stall in stalls if stall.direction == COPY_OUT),
        _sum(stall for stall in stalls if stall.direction != COPY_OUT and not stall.late),
        _sum(stall for stall in stalls if stall.direction != COPY_OUT and stall.late),
        *_idle_for_host(timeline),
        again_ns=kernels_ns[True],
    )


def _sum(stalls: Iterable[StallRecord]) -> int:
    return sum(stall.duration_ns for stall in stalls)


def _idle_for_host(timeline: Timeline) -> Idle:
    """Gap by gap: what of it lies in waits given before the kernel that ends it, and what before, between and after
    them; stalls excepted."""
    idle_ns = _outside([(stall.begin_ns, stall.end_ns) for stall in timeline.stalls])
    waits = iter(timeline.waits)
    wait = next(waits, None)
    begins_ns = chain((kernel.begin_ns for kernel in timeline.kernels), [timeline.iteration_time_ns])
    ends_ns = chain([0], (kernel.end_ns for kernel in timeline.kernels))
    host_ns = synchronise_ns = 0
    for number, (now_ns, gap_end_ns) in enumerate(zip(ends_ns, begins_ns, strict=True)):
        while wait is not None and wait.kernels == number:
            begin_ns, end_ns = (min(max(now_ns, time_ns), gap_end_ns) for time_ns in (wait.begin_ns, wait.end_ns))
            host_ns += idle_ns(now_ns, begin_ns)
            synchronise_ns += idle_ns(begin_ns, end_ns)
            now_ns = end_ns
            wait = next(waits, None)
        host_ns += idle_ns(now_ns, gap_end_ns)
    return Idle(host_ns, synchronise_ns)


def _outside(stalls_ns: Sequence[tuple[int, int]]) -> Callable[[int, int], int]:
    """How much of a time from its begin to its end lies in no stall; stalls are in order and apart."""
    begins_ns = [begin_ns for begin_ns, _ in stalls_ns]
    before_ns = list(accumulate((end_ns - begin_ns for begin_ns, end_ns in stalls_ns), initial=0))

    def stalled_until(time_ns: int) -> int:
        place = bisect_right(begins_ns, time_ns) - 1
        if place < 0:
            return 0
        begin_ns, end_ns = stalls_ns[place]
        return before_ns[place] + min(time_ns, end_ns) - begin_ns

    def outside(begin_ns: int, end_ns: int) -> int:
        if end_ns <= begin_ns:
            return 0
        return end_ns - begin_ns - (stalled_until(end_ns) - stalled_until(begin_ns))

    return outside
