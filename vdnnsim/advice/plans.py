"""Which plan is the fastest that fits in a memory, such that more memory never makes the answer slower.

A plan made for all of a memory can be slower than one made for less of it: blocks then lie elsewhere, and fetches are
put off elsewhere. So plans are made for memories that do not hang on the one asked about (what each policy uses when it
has room, a ladder below that, the least with which anything trains), and the fastest made for no more than is there is
taken: with more memory there are the same plans to choose from, and others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from vdnnsim.advice.records import FittingPlan, Point
from vdnnsim.iteration import Leave
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.policies import ONE_WAY_POLICIES, POLICIES, Plan, Problem, VdnnDyn, decide, make_plan, make_policy
from vdnnsim.study import Study
from vdnnsim.summary import against
from vdnnsim.sweep.prepared import TimelessLaboratory
from vdnnsim.sweep.solve import ROOMY_BYTES, last_good

ORACLE, SEEKING = "oracle", "vdnn-dyn"
_BESIDE = ("vdnn++", "offload", "offload(which=gemm)", "offload(which=half)", "offload(which=quarter)")
_LADDERED = _BESIDE[:2]
"""Of these, what networks have fetched later where room is short; a step's are fetched where they are."""
_MOST_RUNGS, _FEW_RUNGS = 32, 8
_WALKED_STEPS = 2500
_MANY_STEPS = 500
"""From here on a program's memory takes too long to be fitted again and again: the ladder has no rungs."""
_ROOM_PER_MILLE = (990, 1000, 1020, 1050, 1100, 1200, 1500, 2000)
"""Of what a plan uses of an endless pool, which is not what it needs: one with an end places blocks elsewhere."""


class _Free(NamedTuple):
    """What a policy needs to run as it would with room without end, and its time so."""

    budget_bytes: int
    time_ns: int


class Plans:
    """The plans of a study, at one batch, each with the memory that it is made for."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.capacity_bytes = study.gpu.capacity_bytes
        problem = study.problem()
        plans = {name: decide(make_policy(name), problem) for name in fixed_policies(study)}
        self._decided = {name: plan for name, plan in plans.items() if is_baseline(name) or self._can_leave(plan)}
        self._free = {name: self._with_room(plan) for name, plan in self._decided.items()}
        papers = (name for name in self._free if not is_baseline(name) and name not in _BESIDE)
        self._papers = {name: self._free[name] for name in papers}
        self._leanest = min(self._papers or self._free, key=lambda name: self._free[name].budget_bytes)
        if not study.workload.one_way:  # where memory is handed out layer by layer; of a step it is the baseline
            self._free[SEEKING] = self._with_room(_without_offload(problem))
        self.oracle = study.run(ORACLE).result
        self._times_ns: dict[tuple[str, int], int | None] = {}

    @cached_property
    def least_bytes(self) -> int:
        """The least memory in which the leanest of the paper's policies trains, searched to `step_bytes`, or less if
        another one needs less."""
        least = min(free.budget_bytes for free in self._free.values())
        if not self._rungs:
            return least
        name = self._leanest
        fits = lambda budget: fitted(self.at(budget), name, self._decided[name]) is not None  # noqa: E731
        return min(least, last_good(fits, 0, self._free[name].budget_bytes, self.step_bytes))

    @property
    def step_bytes(self) -> int:
        """How finely `least_bytes` was searched; 0 where late fetches were not tried."""
        return max(1, self._free[self._leanest].budget_bytes // 100) if self._rungs else 0

    @cached_property
    def _rungs(self) -> int:
        steps = self._study.prepare(self._decided[self._leanest]).program.steps
        return min(_MOST_RUNGS, _WALKED_STEPS // len(steps)) if len(steps) < _MANY_STEPS else 0

    def points(self) -> tuple[Point, ...]:
        """What each policy needs for its best time."""
        return tuple(Point(name, *free) for name, free in self._free.items() if free.budget_bytes < ROOMY_BYTES)

    @property
    def without_offload_bytes(self) -> int:
        """The least memory in which it trains without offload."""
        return min(free.budget_bytes for name, free in self._free.items() if is_baseline(name))

    def at(self, capacity_bytes: int) -> Study:
        """The study with so much memory."""
        return self._study.within(capacity_bytes)

    def best(self, capacity_bytes: int) -> FittingPlan | None:
        """The fastest plan made for no more than this; of equal ones that of the first policy, baselines first."""
        found = [(time_ns, budget, name) for name, (budget, time_ns) in self._free.items() if budget <= capacity_bytes]
        best = min(found, key=_time, default=None)
        fastest_ns = min(free.time_ns for free in self._free.values())
        for budget, name in self._tight():
            bound_ns = self._free[name].time_ns if name in self._free else fastest_ns  # none is faster in less memory
            if budget <= capacity_bytes and (best is None or bound_ns < best[0]):
                time_ns = self._time_ns(name, budget)
                if time_ns is not None and (best is None or time_ns < best[0]):
                    best = (time_ns, budget, name)
        return None if best is None else self.plan(best[2], best[1])

    def baseline(self, capacity_bytes: int) -> FittingPlan:
        """The fastest plan without offload that fits, or else the one that needs least."""
        found = [(name, budget, time_ns) for name, (budget, time_ns) in self._free.items() if is_baseline(name)]
        fitting = [(time_ns, budget, name) for name, budget, time_ns in found if budget <= capacity_bytes]
        _, budget, name = min(fitting or [(budget, budget, name) for name, budget, _ in found])
        return self.plan(name, budget)

    def plan(self, policy: str, budget_bytes: int) -> FittingPlan:
        """A policy's plan for a memory, with all its numbers."""
        run = self.at(budget_bytes).run(policy)
        result = against(self.oracle, run.result, run.steps)
        leaves = run.plan.schedule.leaves.values()
        return FittingPlan(policy, budget_bytes, bool(leaves), _ahead(leaves), result)

    def _tight(self) -> Iterator[tuple[int, str]]:
        """Memories below what policies need for their best times, and the policies to try there; none hangs on the
        memory asked about."""
        if not self._rungs:
            return
        yield self.least_bytes, self._leanest
        ladders = {name: free.budget_bytes for name, free in self._papers.items()}
        if SEEKING in self._free:  # else it is one of the others, wherever
            fastest = (free.budget_bytes for name, free in self._papers.items() if "(m)" not in name)
            ladders[SEEKING] = min(fastest, default=self.least_bytes)
            ladders |= {name: self._free[name].budget_bytes for name in _LADDERED if name in self._free}
        for name, budget in ladders.items():
            above = budget - self.least_bytes
            rungs = min(self._rungs, _FEW_RUNGS) if name in _LADDERED else self._rungs
            if above > 0:
                yield from ((self.least_bytes + above * rung // rungs, name) for rung in range(rungs)[::-1])

    def _can_leave(self, plan: Plan) -> bool:
        """Whether something leaves, for a host that can pin so much."""
        if self._study.gpu.host.pinning.budget_bytes is None or not plan.schedule.leaves:
            return bool(plan.schedule.leaves)
        return self.at(ROOMY_BYTES).prepare(plan).failure is None

    def _with_room(self, plan: Plan) -> _Free:
        roomy = self.at(ROOMY_BYTES)
        _, program, _, used_bytes, _ = roomy.prepare(plan)
        time_ns = SimulatedMachine(roomy.trace, roomy.gpu).iteration_time_ns(program)
        tried = used_bytes * 3 // 4
        long = len(program.steps) >= _MANY_STEPS
        for per_mille in _ROOM_PER_MILLE[long:]:
            budget = -(-used_bytes * per_mille // 1000)
            if roomy.holds(program, budget):
                if not long:
                    budget = last_good(lambda size: roomy.holds(program, size), tried, budget, used_bytes // 500 + 1)
                return _Free(budget, time_ns)
            tried = budget
        return _Free(ROOMY_BYTES, time_ns)

    def _time_ns(self, name: str, budget_bytes: int) -> int | None:
        """A policy's time in a memory, if it fits; asked again for every capacity, and worked out once."""
        if (name, budget_bytes) not in self._times_ns:
            self._times_ns[name, budget_bytes] = time_ns(self.at(budget_bytes), name, self._decided.get(name))
        return self._times_ns[name, budget_bytes]


def fitted(study: Study, policy: str, decided: Plan | None = None) -> Plan | None:
    """The policy's plan as it fits into the study's memory; None where it does not. Nothing is simulated."""
    plan = decided or decide(make_policy(policy), study.problem(TimelessLaboratory(study)))
    found = study.prepare(plan)
    return found.plan if found.failure is None else None


def time_ns(study: Study, policy: str, decided: Plan | None = None) -> int | None:
    """The time of an iteration under a policy; None where it does not fit."""
    return study.time_ns(decided or decide(make_policy(policy), study.problem(TimelessLaboratory(study))))


def _without_offload(problem: Problem) -> Plan:
    """What vdnn-dyn takes where it has room for it."""
    return make_plan(problem, VdnnDyn().no_offload, (), problem.performance_optimal)


def fixed_policies(study: Study) -> list[str]:
    """The policies whose choice does not hang on the memory, those that copy nothing first."""
    return [name for name in (*_papers(study), *_BESIDE) if name not in (ORACLE, SEEKING)]


def shown_policies(study: Study) -> list[str]:
    """The policies that are set side by side: of variants the one with the fastest algorithms, without offload both."""
    papers = [name for name in _papers(study) if name != ORACLE and (is_baseline(name) or "(m)" not in name)]
    return [*papers, *_BESIDE[:2]]


def is_baseline(policy: str) -> bool:
    """Whether it is a variant of the policy that copies nothing."""
    return policy.startswith("baseline")


def _papers(study: Study) -> Iterable[str]:
    return ONE_WAY_POLICIES if study.workload.one_way else POLICIES


def _ahead(leaves: Collection[Leave]) -> int:
    """How many places before its need a copy in begins, at most."""
    needs = sorted(leave.needed for leave in leaves)
    places = (bisect_left(needs, leave.needed) - bisect_left(needs, leave.back) for leave in leaves)
    return max(places, default=0)


def _time(entry: tuple[int, int, str]) -> int:
    return entry[0]
