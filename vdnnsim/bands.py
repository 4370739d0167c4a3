"""The range of an iteration time that the spreads of a measured trace and profile span (docs/model.md, "The band").

Spreads of one machine are partly common to all kernels, all copies, all calls of the host: the program is simulated
again with all of each slower. Partly they are each piece's own: the pieces that the iteration waited for, one by one.
All of these count as independent of each other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from math import hypot, sqrt
from statistics import median
from typing import NamedTuple

from vdnnsim.gpu import GpuProfile, LinkCurve, LinkPoint
from vdnnsim.host_pace import HostPace
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.program import Program
from vdnnsim.timeline import COPY_OUT, CopyRecord, Timeline
from vdnnsim.trace import Trace, TraceRow
from vdnnsim.units import PPM

WIDTH = 2.87
"""How far the band reaches to each side, in spreads (ranges of the middle half over the median)."""
COMMON = 0.1
"""The part of a spread's square that is common to its source; the rest is each piece's own.

Both are fitted on one H100, to the 52 cases of the first nine groups of `experiments/calibration/h100` that can be
told: for each of the parts 0.1, 0.2, 0.3, 0.5 and 1 the least width with which nine tenths of the measured iterations
lie inside, and of these the narrowest bands. 47 of the 52 lie inside (90 %), 38 of the 43 held-out ones (88 %), 48 of
all 54; the bands reach 0.83 % to each side on average. The data tell the part poorly: at 1 the width is 1.1, and the
bands reach 0.95 %. On an H200 41 of 48 lie inside (85 %), on two other H100s 53 of 66 (80 %).
"""


class Band(NamedTuple):
    """The shortest and the longest iteration time of the range, in nanoseconds; the prediction lies between."""

    low_ns: int
    high_ns: int


class Sources(NamedTuple):
    """For each of the three common sources the machine with all of it slower."""

    kernels: SimulatedMachine
    link: SimulatedMachine
    host: SimulatedMachine


def sources_of(trace: Trace, gpu: GpuProfile) -> Sources:
    """The machines that a trace with spreads and its profile may stand for as well."""
    share = WIDTH * sqrt(COMMON)
    return Sources(*(slower(trace, gpu, share) for slower in (_slower_kernels, _slower_link, _slower_host)))


def band_of(program: Program, timeline: Timeline, trace: Trace, gpu: GpuProfile, sources: Sources) -> Band:
    """The band of a program's iteration, which ran as in `timeline`; `sources` are those of the trace and the GPU.

    As far down as up: what runs beside something else costs more when it is slower than it saves when it is faster, so
    that the lower end is never too near.
    """
    end_ns = timeline.iteration_time_ns
    machines = sources if timeline.copies else (sources.kernels, sources.host)
    off_ns = _off_ns(program, timeline, trace, gpu, machines)
    return Band(max(0, end_ns - round(off_ns)), end_ns + round(off_ns))


def band_of_step(
    program: Program, timeline: Timeline, trace: Trace, gpu: GpuProfile, sources: Sources, pace: HostPace
) -> Band:
    """The same for a captured step: of kernels and link as for any program, of the host by how it was seen to change
    its pace (`host_pace`), which reaches further up than down where it keeps up with the device."""
    end_ns = timeline.iteration_time_ns
    off_ns = _off_ns(program, timeline, trace, gpu, sources[:2] if timeline.copies else sources[:1])
    down_ns = hypot(off_ns, max(0, end_ns - pace.quick_ns))
    up_ns = hypot(off_ns, max(0, pace.slow_ns - end_ns))
    return Band(max(0, end_ns - round(down_ns)), end_ns + round(up_ns))


def _off_ns(
    program: Program, timeline: Timeline, trace: Trace, gpu: GpuProfile, machines: Iterable[SimulatedMachine]
) -> float:
    """How far these common sources and each piece's own spread reach together."""
    end_ns = timeline.iteration_time_ns
    common_ns = (max(0, machine.iteration_time_ns(program) - end_ns) for machine in machines)
    own_ns = WIDTH * sqrt(1 - COMMON) * hypot(*_own_ns(timeline, trace, gpu))
    return hypot(own_ns, *common_ns)


def _slower_kernels(trace: Trace, gpu: GpuProfile, share: float) -> SimulatedMachine:
    def moved(row: TraceRow) -> TraceRow:
        spread_ppm = row.spread.duration_ppm if row.spread else 0
        return row._replace(duration_ns=_scaled(row.duration_ns, share, spread_ppm))

    return SimulatedMachine(_with_rows(trace, moved), gpu)


def _slower_link(trace: Trace, gpu: GpuProfile, share: float) -> SimulatedMachine:
    def moved(row: TraceRow) -> TraceRow:
        if row.spread is None:
            return row
        return row._replace(
            copy_out_slowdown_ppm=row.copy_out_slowdown_ppm + round(share * row.spread.copy_out_ppm),
            copy_in_slowdown_ppm=row.copy_in_slowdown_ppm + round(share * row.spread.copy_in_ppm),
        )

    out, back = _slower_curve(gpu.link.copy_out, share), _slower_curve(gpu.link.copy_in, share)
    return SimulatedMachine(_with_rows(trace, moved), replace(gpu, link=replace(gpu.link, copy_out=out, copy_in=back)))


def _slower_host(trace: Trace, gpu: GpuProfile, share: float) -> SimulatedMachine:
    """Launches by their own spreads; calls of other kinds, whose spreads nobody noted, by the launches' median."""

    def moved(row: TraceRow) -> TraceRow:
        if row.spread is None or row.launch_ns is None:
            return row
        return row.launched_in(_scaled(row.launch_ns, share, row.spread.launch_ppm))

    usual_ppm = median(row.spread.launch_ppm for row in trace.rows if row.spread)
    dearer = gpu.host.with_calls(lambda cost_ns: _scaled(cost_ns, share, usual_ppm))
    return SimulatedMachine(_with_rows(trace, moved), replace(gpu, host=dearer))


def _with_rows(trace: Trace, moved: Callable[[TraceRow], TraceRow]) -> Trace:
    return Trace(trace.header, map(moved, trace.rows))


def _scaled(time_ns: int, share: float, spread_ppm: float) -> int:
    return round(time_ns * (1 + share * spread_ppm / PPM))


def _slower_curve(curve: LinkCurve, share: float) -> LinkCurve:
    """Every point by its own spread; times still rise."""
    points: list[LinkPoint] = []
    last_ns = 0
    for size_bytes, duration_ns, spread_ppm in curve.points:
        last_ns = max(last_ns + 1, _scaled(duration_ns, share, spread_ppm))
        points.append(LinkPoint(size_bytes, last_ns))
    return LinkCurve(tuple(points))


def _own_ns(timeline: Timeline, trace: Trace, gpu: GpuProfile) -> Iterator[float]:
    """How much each piece that the iteration waited for spreads by itself: the kernels given before each wait, or
    where something waited for a copy that ended later than these, that copy."""
    kernels_end_ns = [kernel.end_ns for kernel in timeline.kernels]
    copies = {(copy.direction, copy.end_ns): copy for copy in timeline.copies}
    stalls = deque(timeline.stalls)
    first = 0
    for given, end_ns in [*((wait.kernels, wait.end_ns) for wait in timeline.waits), (len(kernels_end_ns), None)]:
        while stalls and (end_ns is None or stalls[0].end_ns <= end_ns):
            stall = stalls.popleft()
            yield _copy_ns(copies[stall.direction, stall.end_ns], gpu)
            first = max(first, bisect_right(kernels_end_ns, stall.begin_ns))
        for kernel in timeline.kernels[first:given]:
            row = trace.row(kernel.layer, kernel.pass_, kernel.algorithm)
            if row.spread:
                yield row.duration_ns * row.spread.duration_ppm / PPM
        first = max(first, given)


def _copy_ns(copy: CopyRecord, gpu: GpuProfile) -> float:
    """By the spread of the curve's next point of at least this size, or its last."""
    curve = gpu.link.copy_out if copy.direction == COPY_OUT else gpu.link.copy_in
    index = bisect_left(curve.points, (copy.size_bytes,))
    return (copy.end_ns - copy.begin_ns) * curve.points[min(index, len(curve.points) - 1)].spread_ppm / PPM
