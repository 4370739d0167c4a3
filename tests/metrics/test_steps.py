"""Time per layer, worked out by hand."""

from __future__ import annotations

from dataclasses import astuple
from itertools import pairwise

from hypothesis import given, settings

from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.metrics import StepName, StepTime, reuse_distances_ns, step_times
from vdnnsim.program import build_program
from vdnnsim.timeline import COPY_IN, COPY_OUT, CopyRecord, KernelRecord, StallRecord, Timeline, WaitRecord

NAMES = [StepName("a", False, False), StepName("f", False, True), StepName("f", True, True), StepName("a", True, False)]
TIMELINE = Timeline(
    kernels=(
        KernelRecord(0, "a", "forward", "x", 5, 105),
        KernelRecord(1, "f", "forward", "x", 160, 180),
        KernelRecord(2, "f", "backward", "x", 190, 230),
        KernelRecord(3, "a", "backward_filter", "x", 240, 300),
        KernelRecord(3, "a", "backward_data", "x", 300, 330),
    ),
    copies=(
        CopyRecord(0, COPY_OUT, "map:data", 1000, 10, 140, 130),
        CopyRecord(2, COPY_IN, "map:data", 1000, 190, 225, 35),
    ),
    waits=(WaitRecord(0, 10, 150, 1), WaitRecord(3, 240, 340, 5)),
    stalls=(StallRecord(0, 105, 140, COPY_OUT, "map:data", late=False),),
    memory=(),
    step_ends_ns=(150, 180, 230, 345),
    iteration_time_ns=345,
    pool_high_water_bytes=0,
    largest_hole_bytes=0,
)


def test_times_of_steps() -> None:
    times = step_times(TIMELINE, NAMES)
    assert times == (
        StepTime("a", False, False, 0, 150, 100, 35, 1000, 0),
        StepTime("f", False, True, 150, 180, 20, 0, 0, 0),
        StepTime("f", True, True, 180, 230, 40, 0, 0, 1000),
        StepTime("a", True, False, 230, 345, 90, 0, 0, 0),
    )
    assert [time.duration_ns for time in times] == [150, 30, 50, 115]
    assert [time.overhead_ns for time in times] == [15, 10, 10, 25]


def test_reuse_distance_is_from_the_end_of_forward_to_the_start_of_backward() -> None:
    assert reuse_distances_ns(step_times(TIMELINE, NAMES)) == {"a": 230 - 150, "f": 0}


@settings(max_examples=tries(60))
@given(cases())
def test_steps_tile_the_iteration_and_explain_it(case: Case) -> None:
    program = build_program(case.network, case.plan)
    timeline = SimulatedMachine(case.trace, case.gpu).run(program, make_pool("best-fit", 2**40))
    times = step_times(timeline, [StepName(step.layer, step.backward, step.in_classifier) for step in program.steps])
    assert times[0].begin_ns == 0
    assert times[-1].end_ns == timeline.iteration_time_ns
    assert all(left.end_ns == right.begin_ns for left, right in pairwise(times))
    assert all(time.overhead_ns >= 0 and time.stall_ns >= 0 for time in times)
    assert sum(time.kernel_ns for time in times) == sum(kernel.end_ns - kernel.begin_ns for kernel in timeline.kernels)
    own = any(entry.launch_ns or entry.start_ns for entry in case.trace.rows)
    if not own and not any(astuple(case.gpu.host)):
        assert sum(time.overhead_ns for time in times) == 0  # then kernels and stalls are all there is
    assert all(distance >= 0 for distance in reuse_distances_ns(times).values())
