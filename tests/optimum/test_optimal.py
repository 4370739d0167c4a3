"""The policy `optimal`: its plan runs as the model says, its bound holds, and what it tells."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from support.examples import thorough
from vdnnsim.comparing import compare_policies
from vdnnsim.errors import InvalidInput, NoPlan
from vdnnsim.iteration import Schedule
from vdnnsim.making import make_study
from vdnnsim.optimum import Rehearsal, Told
from vdnnsim.optimum.improving import improve
from vdnnsim.policies import make_policy
from vdnnsim.policies.optimal import Optimal
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.program import BrokenSchedule
from vdnnsim.report.words import distances
from vdnnsim.study import Study
from vdnnsim.sweep.solve import smallest_capacity


def alexnet(capacity: str) -> Study:
    return make_study("alexnet", batch=128, gpu="titan-x-maxwell", capacity=capacity)


def test_a_plan_as_quick_as_endless_memory_where_one_exists() -> None:
    told: list[Told] = []
    comparison = compare_policies(alexnet("930 MB"), ["vdnn-dyn", "vdnn++", Optimal(seconds=20, told=told.append)])
    best = comparison.runs[-1]
    bound = best.plan.bound
    assert bound is not None
    assert best.result.trainable
    assert best.result.peak_bytes <= 930 * 10**6
    assert bound.bound_ns <= best.result.iteration_time_ns <= bound.bound_ns * 1.001
    assert [line for _, line in distances(comparison)][:2] == [
        "4.6 % over the oracle; at least 0.0 % is needed; 4.6 points to gain",
        "5.2 % over the oracle; at least 0.0 % is needed; 5.2 points to gain",
    ]
    assert told[0].what == "other policies' plans"
    assert told[-1].time_ns == best.result.iteration_time_ns
    assert told[-1].bound_ns == bound.bound_ns


def test_more_memory_than_any_plan_needs_is_proven_to_do_at_once() -> None:
    run = alexnet("12 GB").run("optimal")
    assert run.plan.bound is not None
    assert run.result.iteration_time_ns == alexnet("12 GB").run("baseline(p)").result.iteration_time_ns


def test_less_than_the_largest_operator_needs() -> None:
    with pytest.raises(InvalidInput, match="expected at least 490425504: the largest operator and the weights"):
        alexnet("400 MB").run("optimal")


def test_out_of_time_without_a_plan() -> None:
    with pytest.raises(InvalidInput, match=r"found no plan that fits within 0 s, .* no iteration takes less than"):
        alexnet("500 MB").run("optimal(seconds=0)")


def test_no_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(InvalidInput, match=r"found no scipy, expected it: pip install scipy"):
        alexnet("1000 MB").run("optimal")


def test_ctrl_c_keeps_the_best_so_far() -> None:
    times_ns: dict[str, int | None] = {}

    def stop(told: Told) -> None:
        times_ns[told.what] = told.time_ns
        if told.what == "relaxation":
            raise KeyboardInterrupt

    run = alexnet("800 MB").run(Optimal(told=stop))
    others_ns, oldest_first_ns = times_ns["other policies' plans"], times_ns["oldest first in 100 % of the memory"]
    assert others_ns is not None
    assert oldest_first_ns is not None
    assert run.plan.bound is not None
    assert run.plan.bound.model_ns is None  # found without the solver
    assert run.result.iteration_time_ns <= oldest_first_ns < others_ns


def test_so_much_of_the_hosts_memory_and_no_more() -> None:
    run = alexnet("930 MB").run("optimal(seconds=20, host=80MiB)")
    assert 0 < run.result.pinned_host_bytes <= 80 * 2**20
    best = alexnet("12 GB").run("oracle").result.iteration_time_ns
    assert run.result.iteration_time_ns == pytest.approx(best, rel=1e-3)
    with pytest.raises(
        InvalidInput, match=r"found 1024 bytes of the host's memory, expected at least \d+: so much has"
    ):
        alexnet("500 MB").run("optimal(host=1KiB)")


class Picky:
    """The baseline, in 1.4 GB and more."""

    name = "picky"

    def check(self, problem: Problem) -> None:
        pass

    def plan(self, problem: Problem) -> Plan:
        if problem.gpu.capacity_bytes < 1400 * 10**6:
            raise NoPlan("found no plan that fits")
        return make_policy("baseline(p)").plan(problem)


def test_a_comparison_goes_on_without_a_policy_that_finds_no_plan() -> None:
    comparison = compare_policies(alexnet("1 GB"), [Picky(), "vdnn-all(m)"])
    assert [result.policy for result in comparison] == ["vdnn-all(m)"]
    assert comparison.left_out == ("found no plan that fits",)
    with pytest.raises(NoPlan):
        compare_policies(alexnet("1 GB"), [Picky()])


def test_the_least_memory_for_a_policy_that_finds_no_plan_in_less() -> None:
    answer = smallest_capacity(alexnet("12 GB"), Picky())
    assert answer.value == 1400 * 10**6
    assert {tried.why for tried in answer.tried if not tried.good} == {"no plan was found that fits"}


@thorough
def test_nothing_is_made_again_where_that_is_asked_for() -> None:
    with_it, without = (alexnet("640 MB").run(f"optimal(seconds=20, remake={remake})") for remake in ("yes", "no"))
    assert with_it.plan.schedule.makes_again
    assert not without.plan.schedule.makes_again
    assert without.plan.bound is not None
    assert with_it.result.iteration_time_ns < without.plan.bound.bound_ns
    assert without.result.iteration_time_ns <= without.plan.bound.bound_ns * 1.001


def test_names() -> None:
    assert make_policy("optimal(remake=no)").name == "optimal(remake=no)"
    assert make_policy("optimal").name == "optimal"
    assert make_policy("optimal(host=1GiB)").name == "optimal(host=1GiB)"
    assert make_policy("optimal(seconds=9)").name == "optimal(seconds=9)"


def test_its_program_is_right_for_all_times_and_its_blocks_lie_where_it_says() -> None:
    """In a memory in which best fit finds no room for what the model has leave."""
    study = replace(alexnet("788 MB"), checked=True)
    run = study.run("optimal(seconds=20)")
    bound = run.plan.bound
    unplaced = study.rehearse(replace(run.plan, schedule=replace(run.plan.schedule, addresses=())))
    assert unplaced.lives
    assert not unplaced.fits
    assert unplaced.time_ns == run.result.iteration_time_ns  # as if all had found a place
    larger = alexnet("790 MB").run(Optimal(seconds=0, known=(run.plan,)))
    assert larger.plan.schedule.addresses == run.plan.schedule.addresses
    assert larger.result.iteration_time_ns == run.result.iteration_time_ns
    assert run.result.offloaded_bytes > 0
    assert run.plan.schedule.addresses
    assert bound is not None
    assert bound.model_ns is not None
    assert bound.bound_ns <= run.result.iteration_time_ns <= 1.02 * bound.bound_ns
    assert run.result.iteration_time_ns == pytest.approx(bound.model_ns, rel=0.01)
    assert run.timeline.pool_high_water_bytes <= 788 * 10**6


def test_small_changes_of_a_schedule_by_the_papers_window() -> None:
    """Whatever is put off for want of room stays where the change had it, or the schedule is refused."""
    study = make_study("overfeat", batch=128, gpu="titan-x-maxwell", capacity="3700 MB")
    plan = make_policy("vdnn-all(p)").plan(study.problem())
    count = iter(range(300))

    def rehearse(schedule: Schedule) -> tuple[Schedule, Rehearsal] | None:
        try:
            return schedule, study.rehearse(replace(plan, schedule=schedule))
        except BrokenSchedule:
            return None

    changed = list(improve(study.iteration, plan.schedule, rehearse, lambda: next(count) < 299))
    found = [tried.time_ns for _, tried in changed]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0]
    assert all(schedule.fences is None for schedule, _ in changed)
