"""Where an iteration goes and what it loses: by hand, nanosecond by nanosecond, and adding up exactly."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import ROOMY_BYTES
from support.examples import tries
from support.strategies import Case, cases, gpus, programs
from vdnnsim.comparing import compare_policies
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.making import make_study
from vdnnsim.memory import make_pool
from vdnnsim.metrics import Loss, Spent, loss_against, loss_to_copies, spent, stalls_by_copy_ns
from vdnnsim.study import Study
from vdnnsim.timeline import COPY_IN, COPY_OUT, KernelRecord, StallRecord, Timeline, WaitRecord

HAND = Timeline(
    kernels=(
        KernelRecord(0, "a", "forward", "x", 5, 105),
        KernelRecord(1, "b", "forward", "x", 260, 300),
        KernelRecord(1, "c", "forward", "x", 310, 400),
    ),
    copies=(),
    waits=(WaitRecord(0, 8, 250, 1), WaitRecord(1, 305, 420, 3), WaitRecord(1, 430, 445, 3)),
    stalls=(
        StallRecord(0, 105, 240, COPY_OUT, "map:x", late=False),
        StallRecord(1, 430, 440, COPY_IN, "map:x", late=True),
        StallRecord(1, 447, 450, COPY_IN, "map:y", late=False),
    ),
    memory=(),
    step_ends_ns=(250, 450),
    iteration_time_ns=450,
    pool_high_water_bytes=0,
    largest_hole_bytes=0,
)
"""Launching a takes 5; its copy is waited for until 240, the call is over at 250, b launched at 260. c, launched before
the next wait begins, starts late, at 310: the host's doing. Two more waits, then a copy under way at the end."""


def test_where_an_iteration_goes() -> None:
    host_ns = 5 + (260 - 250) + (310 - 300) + (430 - 420) + (447 - 445)
    synchronise_ns = (250 - 240) + (420 - 400) + (445 - 440)
    assert spent(HAND) == Spent(230, 135, 3, 10, host_ns, synchronise_ns)
    assert sum(spent(HAND)) == 450


def test_kernels_that_run_again_are_told_apart() -> None:
    """What is made again is no slower algorithm."""
    kernels = (*HAND.kernels[:2], HAND.kernels[2]._replace(again=True))
    own, once = spent(replace(HAND, kernels=kernels)), spent(HAND)
    assert own == once._replace(kernels_ns=140, again_ns=90)
    assert loss_to_copies(own).again_ns == 0 == loss_against(once, once).again_ns
    assert (loss := loss_against(own, once._replace(kernels_ns=140))).algorithms_ns == 0 < loss.again_ns == 90


def test_what_is_lost_is_the_difference() -> None:
    own, oracle = Spent(100, 20, 30, 40, 5, 6), Spent(80, 0, 0, 0, 7, 1)
    loss = loss_against(own, oracle)
    assert loss == Loss(20, 20, 30, 40, -2, 5)
    assert loss.total_ns == sum(own) - sum(oracle)
    assert loss_to_copies(own) == Loss(0, 20, 30, 40, 0, 0)


def test_stalls_of_one_copy_add_up_under_its_name() -> None:
    again = StallRecord(1, 440, 441, COPY_IN, "map:x", late=True)
    assert stalls_by_copy_ns([*HAND.stalls, again]) == {"out x": 135, "late x": 11, "in y": 3}


def nanosecond_by_nanosecond(timeline: Timeline) -> Spent:
    """The same from the definitions alone: what each single nanosecond is."""
    found = dict.fromkeys(Spent._fields, 0)
    for now_ns in range(timeline.iteration_time_ns):

        def covers(record: KernelRecord | StallRecord | WaitRecord) -> bool:
            return record.begin_ns <= now_ns < record.end_ns  # noqa: B023 - called at once

        begun = sum(kernel.begin_ns <= now_ns for kernel in timeline.kernels)
        stall = next(filter(covers, timeline.stalls), None)
        if kernel := next(filter(covers, timeline.kernels), None):
            found["again_ns" if kernel.again else "kernels_ns"] += 1
        elif stall is not None:
            late = "late_fetches_ns" if stall.late else "copies_in_ns"
            found["copies_out_ns" if stall.direction == COPY_OUT else late] += 1
        elif any(wait.kernels <= begun for wait in filter(covers, timeline.waits)):
            found["synchronise_ns"] += 1
        else:
            found["host_ns"] += 1
    return Spent(**found)


@settings(max_examples=tries(60))
@given(st.data())
def test_every_nanosecond_has_one_cause(data: st.DataObject) -> None:
    program, trace = data.draw(programs())
    timeline = SimulatedMachine(trace, data.draw(gpus())).run(program, make_pool("best-fit", ROOMY_BYTES))
    parts = spent(timeline)
    assert parts == nanosecond_by_nanosecond(timeline)
    assert sum(parts) == timeline.iteration_time_ns


@settings(max_examples=tries(40))
@given(cases())
def test_the_parts_of_a_loss_add_up_to_what_an_iteration_takes_longer_than_the_oracles(case: Case) -> None:
    study = Study(case.network, case.trace, case.gpu, "best-fit", case.weight_gradients)
    policies = ["baseline(m)", "vdnn-all(m)", "vdnn-conv(p)", "vdnn-dyn", "oracle"]
    comparison = compare_policies(study, policies)
    oracle = comparison["oracle"]
    assert oracle.loss == Loss(0, 0, 0, 0, 0, 0)
    for result in comparison:
        assert result.loss.total_ns == result.iteration_time_ns - oracle.iteration_time_ns
        assert result.loss.algorithms_ns >= 0  # the oracle takes the fastest
        assert sum(result.spent) == result.iteration_time_ns
        assert sum(result.spent[1:4]) == result.stall_ns == sum(layer.stall_ns for layer in result.layers)
        for layer in result.layers:
            assert sum(layer.stalls_by_copy_ns.values()) == layer.stall_ns


def test_each_part_comes_from_its_cause() -> None:
    """One cause taken away takes its part away, and leaves what does not hang on it."""
    study = make_study("alexnet", batch=128, gpu="titan-x-maxwell")

    def lost(study: Study, policy: str) -> Loss:
        return compare_policies(study, [policy])[policy].loss

    slow = lost(study, "vdnn-all(m)")
    host = replace(study.gpu.host, kernel_ns=0, copy_ns=0, synchronise_ns=0, allocate_ns=0, free_ns=0)
    assert lost(replace(study, gpu=replace(study.gpu, host=host)), "vdnn-all(m)")[4:] == (0, 0, 0)
    assert lost(study, "vdnn-all(p)").algorithms_ns == 0 < slow.algorithms_ns
    fast = lost(replace(study, gpu=study.gpu.with_link_bandwidth(300 * 10**9)), "vdnn-all(m)")
    assert fast.algorithms_ns == slow.algorithms_ns
    assert (fast.copies_out_ns, fast.copies_in_ns) < (slow.copies_out_ns // 10, slow.copies_in_ns // 10)


def test_deferring_a_prefetch_is_paid_for_as_a_late_fetch() -> None:
    """VGG-16 (256) puts off two prefetches on 12 GB; on 16 GB it puts off none."""
    losses = {
        capacity: compare_policies(
            make_study("vgg16", batch=256, gpu="titan-x-maxwell", capacity=capacity), ["vdnn-all(p)"]
        )["vdnn-all(p)"]
        for capacity in ("12GiB", "16GB")
    }
    assert [result.deferred_prefetches for result in losses.values()] == [2, 0]
    assert losses["12GiB"].loss.late_fetches_ns > 0 == losses["16GB"].loss.late_fetches_ns
