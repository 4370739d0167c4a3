"""When each engine of a run was busy, and with what: what figures draw as lanes and files tell of a timeline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vdnnsim.results import PolicyRun
from vdnnsim.timeline import COPY_IN, COPY_OUT, Timeline

COMPUTE, STALL = "compute", "stall"
_NEAR = 2000


class Interval(NamedTuple):
    """A busy time, in nanoseconds, and what it was busy with."""

    begin_ns: int
    end_ns: int
    name: str = ""


def lanes_of(timeline: Timeline) -> dict[str, list[Interval]]:
    """By engine, its kernels (by layer), its copies (by map); and when compute stood still for copies."""
    lanes = {COMPUTE: [Interval(kernel.begin_ns, kernel.end_ns, kernel.layer) for kernel in timeline.kernels]}
    for direction in (COPY_OUT, COPY_IN):
        lanes[direction] = [
            Interval(copy.begin_ns, copy.end_ns, copy.buffer.partition(":")[2])
            for copy in timeline.copies
            if copy.direction == direction
        ]
    for direction in dict.fromkeys(record.direction for record in timeline.nvme):
        lanes[direction] = [
            Interval(record.begin_ns, record.end_ns, record.buffer.partition(":")[2])
            for record in timeline.nvme
            if record.direction == direction
        ]
    lanes[STALL] = [Interval(stall.begin_ns, stall.end_ns) for stall in timeline.stalls]
    return lanes


def stored_lanes(run: PolicyRun) -> dict[str, dict[str, list[int] | list[str]]]:
    """The lanes as a file holds them: columns. What is of one layer and nearer than a 2000th of the iteration is one,
    so that steps of ten thousand kernels stay small."""
    near_ns = run.timeline.iteration_time_ns // _NEAR
    return {
        engine: {
            "begin_ns": [interval.begin_ns for interval in joined],
            "end_ns": [interval.end_ns for interval in joined],
            "of": [interval.name for interval in joined],
        }
        for engine, intervals in lanes_of(run.timeline).items()
        for joined in [_joined(intervals, near_ns)]
    }


def _joined(intervals: Iterable[Interval], near_ns: int) -> list[Interval]:
    joined: list[Interval] = []
    for interval in intervals:
        if joined and joined[-1].name == interval.name and interval.begin_ns - joined[-1].end_ns <= near_ns:
            joined[-1] = joined[-1]._replace(end_ns=interval.end_ns)
        else:
            joined.append(interval)
    return joined
