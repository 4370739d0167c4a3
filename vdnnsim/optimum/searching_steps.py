"""The search for a captured step's best schedule, in PyTorch's allocator: where blocks lie cannot be said there, and
small changes to a plan find out which of its like fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product

from vdnnsim.iteration import Action, Remake, Schedule
from vdnnsim.optimum.coarsening import at_marks, in_periods, only, stage_begins, tightest, weighty_begins
from vdnnsim.optimum.improving import improve
from vdnnsim.optimum.instance import Instance
from vdnnsim.optimum.model import Model, Solution, Unsolvable
from vdnnsim.optimum.planning import actions_of
from vdnnsim.optimum.rehearsal import Rehearsal
from vdnnsim.optimum.saying import said_ns
from vdnnsim.optimum.searching import COARSE, LARGE, SMALL_MODEL, Algorithms, Draft, Search, size_of

_MARGINS = (0.04, 0.06, 0.09, 0.02, 0.13, 0.01, 0.0, 0.18, 0.25)
"""Shares of the capacity that plans do without, those first of which most came of."""
_FEWER = 30
"""In so many periods blocks leave where no plan is found in more of them."""
_MARKS = (24, 72)
"""At so many calls memory is looked at for a bound."""
_SLOWER = 0.03
"""By so much of its time may what leaves and is made again take longer for fitting."""
_TRIES, _PATIENCE = 500, 150
"""So many changes that bring nothing are tried for that, and so many of what fits."""
_SEEKING = 1 / 5
"""Such a share of the time that is left room may be sought for one plan."""
_FAR = 1.5
"""Other policies' plans that take so many times the bound are changed first: where there is little room, few fit."""
_SAYING_S = 20
"""So long may the model take to say of the best plan how long that takes, beyond the search's own time."""
_IMPROVED = 3
"""So many plans that fit are changed further."""


@dataclass
class StepSearch(Search):
    """As `Search`, of a captured step."""

    time_ns: Callable[[Schedule], float] = lambda _: 0.0
    """How long a schedule takes in endless memory."""
    _fitting: list[Draft] = field(default_factory=list)
    _few: bool = False

    def run(self, others: Iterable[Iterable[tuple[Schedule, Algorithms]]]) -> None:
        """As `Search` does; and what the model says is told of the plan as it has become."""
        super().run(others)
        best = self.best
        if best is not None and best.model_ns is not None and self.planned is not None:
            try:
                said = said_ns(self.planned, best.schedule.actions, _SAYING_S)
            except Unsolvable:
                said = None
            self.best = best._replace(model_ns=said)

    def _choosable(self, instance: Instance, _simple: bool) -> Instance:
        return instance

    def _solve(self, choosable: Instance, begins: list[int], simple: bool) -> tuple[Instance, Solution]:
        """Where large blocks that are away for many rows of calls leave no room, or no plan is found of them in time,
        all may be, for fewer, and what they are made of is there somehow: `write` sees to that."""
        if simple:
            return super()._solve(choosable, begins, simple)
        large = only(choosable, lambda gap: gap.size_bytes > choosable.capacity_bytes * LARGE)
        if not self._few and in_periods(large, begins).least_bytes <= choosable.capacity_bytes:
            with suppress(Unsolvable):
                found = super()._solve(large, begins, simple)
                if found[1].time_ns is not None:
                    return found
        self._few = True
        gaps = tuple(gap._replace(sources=()) for gap in choosable.gaps)
        return super()._solve(replace(choosable, gaps=gaps), weighty_begins(choosable, _FEWER), simple)

    def _bounding(self, instance: Instance) -> Model:
        """Hooks have kernels wait for a copy out before its block goes: nothing leaves beside one and is gone then."""
        return Model(instance)

    def _margins(self, _simple: bool) -> tuple[float, ...]:
        return _MARGINS

    def _rounds(self) -> Iterator[str]:
        simple = size_of(self.instance) <= SMALL_MODEL
        for count in _MARKS:
            marks = tightest(self.instance, count)
            model = self._bounding(at_marks(self.instance, marks))
            self._raise_bound(model.solve(whole=False, seconds=self._left_s / 8))
            yield f"relaxation at {len(marks)} calls"
        if simple:
            yield from self._whole_bound()
        if self.best is not None and self.best.time_ns > self.bound_ns * _FAR and not self.best.schedule.makes_again:
            self._improve(Draft(self.best.schedule, {}, self.bound_ns), self._left_s / 4)
            yield "changes of another policy's plan"
        begins = stage_begins(self.instance) if simple else weighty_begins(self.instance, COARSE)
        yield from self._plans(begins, simple)
        for number, draft in enumerate(self._fitting[-_IMPROVED:], 1):
            self._improve(draft, self._left_s / 4)
            yield f"small changes of plan {number}"
        best = self.best
        if best is not None and not (best.model_ns is None and best.schedule.makes_again):  # others know of what
            self._improve(Draft(best.schedule, {}, best.model_ns or 0), self._left_s)
            yield "small changes of the best"

    def _try_solution(self, instance: Instance, solution: Solution, room: Instance) -> None:
        assert solution.time_ns is not None
        model_ns = round(solution.time_ns)
        ways = [
            actions_of(self.iteration, instance, solution, patient, where)
            for patient, where in product((False, True), (None, room))
        ]
        schedules = [self.write(how(actions)) for how in (dict, self._late) for actions in ways]
        schedule = min(schedules, key=self.time_ns)  # the first of equal ones
        self._find_room(schedule, model_ns)

    def _late(self, actions: Mapping[str, Action]) -> dict[str, Action]:
        """The same, with all that is made again so when it is needed."""
        needed = {gap.tensor: gap.needed for gap in self.instance.gaps}
        return {
            name: action._replace(again=needed[name]) if isinstance(action, Remake) else action
            for name, action in actions.items()
        }

    def _find_room(self, schedule: Schedule, model_ns: int) -> None:
        """Small changes until it fits, and then for as long as they help."""
        found, fits, tries = schedule, False, 0
        end = self.seconds + self._left_s * _SEEKING
        most_ns = self.time_ns(schedule) + model_ns * _SLOWER

        def rehearse(schedule: Schedule) -> tuple[Schedule, Rehearsal] | None:
            tried = self.rehearse(schedule, {})
            return tried and (schedule, tried)

        def go_on() -> bool:
            nonlocal tries
            tries += 1
            more = tries <= _PATIENCE if fits else tries <= _TRIES and self.seconds < end
            return more and not self._done()

        def allowed(schedule: Schedule) -> bool:
            return fits or self.time_ns(schedule) <= most_ns

        for found, tried in improve(self.iteration, schedule, rehearse, go_on, self.changes, allowed):
            self._keep(found, {}, tried, model_ns)
            fits, tries = tried.fits, 0
        if fits:
            self._fitting.append(Draft(found, {}, model_ns))
            self._fitting.sort(key=lambda draft: draft.model_ns, reverse=True)
