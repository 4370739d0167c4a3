"""When stalls were, from records written by hand."""

from __future__ import annotations

from vdnnsim.report.stalls import Stall, stalls
from vdnnsim.results import Comparison
from vdnnsim.timeline import COPY_OUT, CopyRecord, Timeline, WaitRecord


def timeline(copy_ends_ns: list[int], waits: list[WaitRecord]) -> Timeline:
    copies = tuple(CopyRecord(0, COPY_OUT, "map:x", 1, 0, end_ns, end_ns) for end_ns in copy_ends_ns)
    return Timeline((), copies, tuple(waits), (), (), 0, 0, 0)


def test_a_stall_ends_with_the_copy_that_it_waited_for() -> None:
    waits = [WaitRecord(0, 100, 200, 30), WaitRecord(1, 300, 400, 50)]
    assert stalls(timeline([190, 370, 900], waits)) == [Stall(160, 190), Stall(320, 370)]


def test_a_wait_without_stall_has_an_empty_one() -> None:
    [stall] = stalls(timeline([190], [WaitRecord(0, 100, 200, 0)]))
    assert stall.begin_ns == stall.end_ns


def test_a_stall_never_leaves_its_wait() -> None:
    # no copy ends within the wait, or so early that the stall would begin before it
    assert stalls(timeline([], [WaitRecord(0, 100, 200, 40)])) == [Stall(160, 200)]
    assert stalls(timeline([110], [WaitRecord(0, 100, 200, 40)])) == [Stall(160, 200)]


def test_no_kernel_runs_while_the_machine_stalls(every: Comparison) -> None:
    for run in every.runs:
        busy = sorted((kernel.begin_ns, kernel.end_ns) for kernel in run.timeline.kernels)
        for begin_ns, end_ns in stalls(run.timeline):
            assert begin_ns == end_ns or not any(begin < end_ns and end > begin_ns for begin, end in busy)
