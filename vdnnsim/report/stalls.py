"""When the compute engine stood still for copies: the stalled part of each of the host's waits."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from vdnnsim.timeline import Timeline, WaitRecord


class Stall(NamedTuple):
    """When the wait of the same place in `Timeline.waits` stalled, in nanoseconds; empty where it did not."""

    begin_ns: int
    end_ns: int


def stalls(timeline: Timeline) -> list[Stall]:
    """One for each wait, in their order.

    A record says how long its stall was, not when. It lasted until the last copy that ended within the wait; where no
    copy did, it is shown at the wait's end.
    """
    copy_ends_ns = sorted(copy.end_ns for copy in timeline.copies)
    return [_stall(wait, copy_ends_ns) for wait in timeline.waits]


def _stall(wait: WaitRecord, copy_ends_ns: list[int]) -> Stall:
    before = bisect_right(copy_ends_ns, wait.end_ns)
    end_ns = copy_ends_ns[before - 1] if before else wait.end_ns
    if end_ns - wait.stall_ns < wait.begin_ns:
        end_ns = wait.end_ns
    return Stall(end_ns - wait.stall_ns, end_ns)
