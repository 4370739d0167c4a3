"""Which plan is the fastest that fits in a memory, such that more memory never makes the answer slower.

A plan made for all of a memory can be slower than one made for less of it: blocks then lie elsewhere, and fetches are
put off elsewhere. So plans are made for memories that do not hang on the one asked about (what each policy uses when it
has room, a ladder below that, the least with which anything trains), and the fastest made for no more than is there is
taken: with more memory there are the same plans to choose from, and others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from vdnnsim.advice.records import FittingPlan, Point
from vdnnsim.policies import ONE_WAY_POLICIES, POLICIES, Plan, decide, make_policy
from vdnnsim.study import Study
from vdnnsim.summary import against
from vdnnsim.sweep.solve import ROOMY_BYTES, last_good

ORACLE, SEEKING = "oracle", "vdnn-dyn"
_MOST_RUNGS = 32
_WALKED_STEPS = 3000
_MANY_STEPS = 500
"""From here on a program's memory takes too long to be fitted again and again, and the ladder has no rungs."""
_SPARE_PER_MILLE = (1000, 1002, 1005, 1010, 1020, 1050, 1100, 1200, 1500, 2000)


class _Free(NamedTuple):
    """What a policy needs to run as it would with room without end, and its time so."""

    budget_bytes: int
    time_ns: int


class Plans:
    """The plans of a study, at one batch, each with the memory that it is made for."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self.capacity_bytes = study.gpu.capacity_bytes
        self._decided = {name: decide(make_policy(name), study.problem()) for name in fixed_policies(study)}
        self._free = {name: self._with_room(plan) for name, plan in self._decided.items()}
        self._offloading = {name: free for name, free in self._free.items() if not is_baseline(name)}
        self._leanest = min(self._offloading, key=lambda name: self._offloading[name].budget_bytes)
        self._oracle = study.run(ORACLE).result
        self._times_ns: dict[tuple[str, int], int | None] = {}

    @cached_property
    def least_bytes(self) -> int:
        """The least memory in which the leanest policy trains, searched to `step_bytes`."""
        free = self._offloading[self._leanest]
        if not self._rungs:
            return free.budget_bytes
        fits = lambda budget: self._time_ns(self._leanest, budget) is not None  # noqa: E731
        return last_good(fits, 0, free.budget_bytes, self.step_bytes)

    @property
    def step_bytes(self) -> int:
        """How finely `least_bytes` was searched; 0 where late fetches were not tried."""
        return max(1, self._offloading[self._leanest].budget_bytes // 100) if self._rungs else 0

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
        result = against(self._oracle, run.result, run.steps)
        return FittingPlan(policy, budget_bytes, bool(run.plan.offload), result)

    def _tight(self) -> Iterator[tuple[int, str]]:
        """Memories below what policies need for their best times, and the policies to try there; none hangs on the
        memory asked about."""
        if not self._rungs:
            return
        yield self.least_bytes, self._leanest
        ladders = {name: free.budget_bytes for name, free in self._offloading.items()}
        if not self._study.workload.one_way:  # else it is one of the others, wherever
            ladders[SEEKING] = min(free.budget_bytes for name, free in self._offloading.items() if "(m)" not in name)
        for name, budget in ladders.items():
            above = budget - self.least_bytes
            yield from ((self.least_bytes + above * rung // self._rungs, name) for rung in range(self._rungs)[::-1])

    def _with_room(self, plan: Plan) -> _Free:
        roomy = self.at(ROOMY_BYTES).rehearse(plan)
        for per_mille in _SPARE_PER_MILLE:
            budget = -(-roomy.pool_high_water_bytes * per_mille // 1000)
            fitted = self.at(budget).prepare(plan)
            if fitted.failure is None and fitted.plan.schedule == plan.schedule:
                return _Free(budget, roomy.time_ns)
        return _Free(ROOMY_BYTES, roomy.time_ns)

    def _time_ns(self, name: str, budget_bytes: int) -> int | None:
        """A policy's time in a memory, if it fits; asked again for every capacity, and worked out once."""
        if (name, budget_bytes) not in self._times_ns:
            self._times_ns[name, budget_bytes] = self._rehearsed_ns(name, budget_bytes)
        return self._times_ns[name, budget_bytes]

    def _rehearsed_ns(self, name: str, budget_bytes: int) -> int | None:
        study = self.at(budget_bytes)
        rehearsal = study.rehearse(self._decided.get(name) or decide(make_policy(name), study.problem()))
        return rehearsal.time_ns if rehearsal.fits else None


def fixed_policies(study: Study) -> list[str]:
    """The paper's policies whose choice does not hang on the memory, those that copy nothing first."""
    return [name for name in _all(study) if name not in (ORACLE, SEEKING)]


def shown_policies(study: Study) -> list[str]:
    """The policies that are set side by side: of variants the one with the fastest algorithms, without offload both."""
    return [name for name in _all(study) if name != ORACLE and (is_baseline(name) or "(m)" not in name)]


def is_baseline(policy: str) -> bool:
    """Whether it is a variant of the policy that copies nothing."""
    return policy.startswith("baseline")


def _all(study: Study) -> Iterable[str]:
    return ONE_WAY_POLICIES if study.workload.one_way else POLICIES


def _time(entry: tuple[int, int, str]) -> int:
    return entry[0]
