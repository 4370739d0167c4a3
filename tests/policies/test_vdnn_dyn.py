"""vDNN-dyn: its trials in the paper's order, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from support.cases import gpu_of
from support.staircase import FILTER, NETWORK, OUTCOMES, SMALLEST_UNITS, TRACE, UNIT_BYTES, Outcome, study_with
from vdnnsim.policies import Plan, Rehearsal, Trial, make_policy
from vdnnsim.policies.plan import Layout
from vdnnsim.study import Study

ORDER = [
    "vdnn-all, memory-optimal",
    "no offload, fastest",
    "vdnn-conv, fastest",
    "vdnn-all, fastest",
    "vdnn-conv, greedy",
    "vdnn-all, greedy",
]
CONVS = {"a", "b", "c"}
EVERYTHING = {"a", "p", "q", "r", "b", "c"}
OFFLOADS = dict(zip(ORDER, (EVERYTHING, set(), CONVS, EVERYTHING, CONVS, EVERYTHING), strict=True))


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: f"{outcome.units} units")
def test_each_outcome_by_capacity(outcome: Outcome) -> None:
    run = study_with(outcome.units).run(make_policy("vdnn-dyn"))
    trials = run.result.trials
    assert [trial.title for trial in trials] == ORDER[: outcome.trials]
    assert trials[-1].title == outcome.title
    # All but the first, which must fit for anything to train, and the last, which is taken, did not fit.
    assert [trial.fits for trial in trials] == [True, *[False] * (outcome.trials - 2), True]
    assert run.result.trainable
    assert run.plan.offload == OFFLOADS[outcome.title]
    assert run.plan.algorithms[FILTER] == outcome.algorithm
    assert run.plan.deferred == outcome.deferred
    assert run.result.deferred_prefetches == len(outcome.deferred)
    assert run.result.pool_high_water_bytes <= outcome.units * UNIT_BYTES


def test_where_the_leanest_fails_nothing_else_is_tried() -> None:
    run = study_with(SMALLEST_UNITS - 1).run(make_policy("vdnn-dyn"))
    assert [(trial.title, trial.fits) for trial in run.result.trials] == [(ORDER[0], False)]
    assert not run.result.trainable
    assert run.plan.offload == EVERYTHING
    assert run.plan.algorithms[FILTER] == "IMPLICIT_GEMM"
    assert run.result.trials[0].verdict.startswith("rejected: out of memory in c backward")


def test_a_trial_tells_the_time_and_peak_that_its_plan_has_when_run() -> None:
    for outcome in OUTCOMES:
        study = study_with(outcome.units)
        result = study.run(make_policy("vdnn-dyn")).result
        taken = result.trials[-1]
        assert (taken.iteration_time_ns, taken.peak_bytes) == (result.iteration_time_ns, result.peak_bytes)
        for trial in result.trials:
            again = study.run_plan(trial.title, trial.plan).result
            assert again.trainable == trial.fits
            assert (again.iteration_time_ns, again.peak_bytes) == (trial.iteration_time_ns, trial.peak_bytes)


@dataclass
class ScriptedLaboratory:
    """Says of each trial what the script says."""

    fitting: set[str]
    asked: list[str] = field(default_factory=list)

    def attempt(self, title: str, plan: Plan) -> Trial:
        self.asked.append(title)
        fits = title in self.fitting
        return Trial(title, plan, fits, 1000, 10, "" if fits else "no room")

    def rehearse(self, plan: Plan) -> Rehearsal:
        raise NotImplementedError

    def shrink_workspaces(self, plan: Plan) -> Plan:
        self.asked.append("shrink")
        return plan.with_algorithms({**plan.algorithms, FILTER: "GEMM"}, TRACE)


@pytest.mark.parametrize(
    ("fitting", "taken", "asked"),
    [
        (set(ORDER), ORDER[1], ORDER[:2]),
        ({ORDER[0], *ORDER[2:]}, ORDER[2], ORDER[:3]),
        ({ORDER[0], *ORDER[3:]}, ORDER[3], ORDER[:4]),
        ({ORDER[0], *ORDER[4:]}, ORDER[4], [*ORDER[:4], "shrink", ORDER[4]]),
        ({ORDER[0], ORDER[5]}, ORDER[5], [*ORDER[:4], "shrink", ORDER[4], "shrink", ORDER[5]]),
        # 7: everything else fails, even greedily (pieces too small): the leanest configuration again.
        ({ORDER[0]}, ORDER[0], [*ORDER[:4], "shrink", ORDER[4], "shrink", ORDER[5]]),
        (set(ORDER[1:]), ORDER[0], ORDER[:1]),
    ],
)
def test_the_first_that_fits_is_taken(fitting: set[str], taken: str, asked: list[str]) -> None:
    laboratory = ScriptedLaboratory(fitting)
    plan = make_policy("vdnn-dyn").plan(Study(NETWORK, TRACE, gpu_of()).problem(laboratory))
    assert laboratory.asked == asked
    assert plan.offload == OFFLOADS[taken]
    expected = {"memory-optimal": "IMPLICIT_GEMM", "fastest": "FFT", "greedy": "GEMM"}[taken.split(", ")[1]]
    assert plan.algorithms[FILTER] == expected
    assert [trial.title for trial in plan.trials] == [title for title in asked if title != "shrink"]
    chosen = next(trial.plan for trial in plan.trials if trial.title == taken)
    assert replace(plan, trials=()) == chosen


def test_without_offload_memory_may_be_handed_out_network_wide() -> None:
    policy = replace(make_policy("vdnn-dyn"), no_offload=Layout.NETWORK_WIDE)  # type: ignore[type-var]
    laboratory = ScriptedLaboratory(set(ORDER))
    plan = policy.plan(Study(NETWORK, TRACE, gpu_of()).problem(laboratory))
    assert plan.layout is Layout.NETWORK_WIDE
