"""The search for a captured step's best schedule, in PyTorch's allocator: where blocks lie cannot be said there, and
small changes to a plan find out which of its like fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from vdnnsim.iteration import Leave, Schedule
from vdnnsim.optimum.coarsening import at_marks, stage_begins, tightest, weighty_begins
from vdnnsim.optimum.improving import improve
from vdnnsim.optimum.instance import Instance
from vdnnsim.optimum.model import Model, Solution
from vdnnsim.optimum.planning import actions_of
from vdnnsim.optimum.rehearsal import Rehearsal
from vdnnsim.optimum.searching import COARSE, SMALL_MODEL, Draft, Search, size_of

_MARGINS = (0.09, 0.04, 0.13, 0.06, 0.02, 0.01, 0.0, 0.18, 0.25)
"""Shares of the capacity that plans do without, those first of which most came of."""
_MARKS = (24, 72)
"""At so many calls memory is looked at for a bound."""
_SLOWER = 0.015
"""By so much of its time may what leaves and is made again take longer for fitting."""
_TRIES, _PATIENCE = 500, 150
"""So many changes are tried for that, and so many of what fits that bring nothing."""
_IMPROVED = 3
"""So many plans that fit are changed further."""


@dataclass
class StepSearch(Search):
    """As `Search`, of a captured step."""

    time_ns: Callable[[Schedule], float] = lambda _: 0.0
    """How long a schedule takes in endless memory."""
    costs_ns: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    _fitting: list[Draft] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.planned is not None:
            self.costs_ns = {gap.tensor: (gap.out_ns, gap.remake_ns) for gap in self.planned.gaps}

    def _cost_ns(self, schedule: Schedule) -> int:
        """What copies out, and what is made again, take by themselves."""
        found = 0
        for name, action in schedule.actions.items():
            out_ns, remake_ns = self.costs_ns.get(name, (0, 0))
            found += out_ns if isinstance(action, Leave) else remake_ns or 0
        return found

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
        schedules = [
            self.write(actions_of(self.iteration, instance, solution, patient, where))
            for patient, where in product((False, True), (None, room))
        ]
        schedule = min(schedules, key=self.time_ns)  # the first of equal ones
        self._find_room(schedule, model_ns)

    def _find_room(self, schedule: Schedule, model_ns: int) -> None:
        """Small changes until it fits, and then for as long as they help."""
        found, fits, tries = schedule, False, 0
        most_ns = self._cost_ns(schedule) + model_ns * _SLOWER

        def rehearse(schedule: Schedule) -> tuple[Schedule, Rehearsal] | None:
            tried = self.rehearse(schedule, {})
            return tried and (schedule, tried)

        def go_on() -> bool:
            nonlocal tries
            tries += 1
            return tries <= (_PATIENCE if fits else _TRIES) and not self._done()

        def allowed(schedule: Schedule) -> bool:
            return self._cost_ns(schedule) <= most_ns

        for found, tried in improve(self.iteration, schedule, rehearse, go_on, self.changes, allowed):
            self._keep(found, {}, tried, model_ns)
            if tried.fits:
                fits, tries = True, 0
        if fits:
            self._fitting.append(Draft(found, {}, model_ns))
            self._fitting.sort(key=lambda draft: draft.model_ns, reverse=True)
