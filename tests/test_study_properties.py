"""Every policy on any network, pool and capacity: it runs, computes the right thing, stays in its memory, or says why
not and what would do."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from support.checker import check_engines, check_memory, check_run
from support.examples import tries
from support.strategies import Case, cases
from vdnnsim.memory import POOLS
from vdnnsim.policies import POLICIES, make_policy
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study


def study_of(case: Case, pool: str, capacity_bytes: int) -> Study:
    return Study(case.network, case.trace, case.gpu.with_capacity(capacity_bytes), pool, case.weight_gradients)


def check(study: Study, run: PolicyRun) -> None:
    check_run(study.network, run.program, run.timeline)
    check_engines(run.timeline)
    check_memory(run.timeline)
    result = run.result
    assert result.iteration_time_ns == run.timeline.iteration_time_ns == sum(step.duration_ns for step in run.steps)
    assert sum(result.bytes_by_class_at_peak.values()) == result.peak_bytes >= result.average_bytes
    assert result.peak_bytes >= result.average_bytes_per_step >= 0
    assert result.offloaded_bytes == result.prefetched_bytes == result.pinned_host_bytes
    assert result.peak_bytes <= result.pool_high_water_bytes
    assert 0 < result.feature_extraction.peak_bytes <= result.peak_bytes


@settings(max_examples=tries(50))
@given(cases(), st.sampled_from(tuple(POLICIES)), st.sampled_from(tuple(POOLS)), st.integers(1, 120))
def test_any_policy_in_any_pool(case: Case, policy: str, pool: str, percent: int) -> None:
    roomy = study_of(case, pool, 2**40)
    wanted = roomy.run(make_policy(policy))
    check(roomy, wanted)
    assert wanted.result.trainable
    capacity_bytes = max(1, wanted.result.pool_high_water_bytes * percent // 100)
    study = study_of(case, pool, capacity_bytes)
    run = study.run(make_policy(policy))
    result = run.result
    check(study, run)
    if result.trainable:
        assert policy == "oracle" or result.pool_high_water_bytes <= capacity_bytes
        assert result.reason == ""
    else:
        assert result.verdict.startswith("memory-bound: out of memory in ")
        enough = replace(study, gpu=study.gpu.with_capacity(result.needed_bytes))
        assert enough.run_plan(policy, run.plan).result.trainable


@settings(max_examples=tries(20))
@given(cases())
def test_what_policies_move_and_hold_is_ordered(case: Case) -> None:
    """vDNN-all moves all that vDNN-conv moves; the fastest algorithms make the oracle no slower than anybody."""
    study = study_of(case, "best-fit", 2**40)
    runs = {name: study.run(make_policy(name)) for name in POLICIES}
    everything = {buffer.name for buffer in runs["vdnn-all(p)"].program.offloaded}
    convs = {buffer.name for buffer in runs["vdnn-conv(p)"].program.offloaded}
    assert convs <= everything
    assert runs["baseline(p)"].program.offloaded == runs["oracle"].program.offloaded == ()
    kernels = {name: sum(step.kernel_ns for step in run.steps) for name, run in runs.items()}
    assert all(kernels["oracle"] <= own for own in kernels.values())
    assert runs["baseline(p)"].timeline.kernels == runs["oracle"].timeline.kernels
    # With room without end vDNN-dyn offloads nothing and takes the fastest algorithms.
    assert runs["vdnn-dyn"].plan.offload == frozenset()
    assert kernels["vdnn-dyn"] == kernels["oracle"]
