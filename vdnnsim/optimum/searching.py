"""The search: a bound from below, plans from above, nearer to each other until they are near enough or time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from time import monotonic
from typing import NamedTuple

from vdnnsim.errors import NoPlan
from vdnnsim.iteration import Action, Iteration, Key, MemoryClass, Schedule, Waits
from vdnnsim.optimum.coarsening import at_marks, in_periods, only, stage_begins, tightest, weighty_begins
from vdnnsim.optimum.greedy import oldest_first
from vdnnsim.optimum.improving import Changes, improve
from vdnnsim.optimum.instance import Gap, Instance
from vdnnsim.optimum.model import Model, Solution, Unsolvable
from vdnnsim.optimum.packing import most_bytes, pack
from vdnnsim.optimum.planning import actions_of
from vdnnsim.optimum.rehearsal import Rehearsal

_MARGINS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.09, 0.13, 0.18, 0.25)
_MARGINS_OF_LARGE = (0.13, 0.09, 0.06, 0.04, 0.02, 0.01, 0.0, 0.18, 0.25)
"""Shares of the capacity that plans do without, since blocks do not lie without holes: many hardly do in nearly all of
it."""
_MARKS = (4, 24, 72)
"""At so many kernels memory is looked at for a first bound."""
_WHOLE_MARKS = 24
"""At so many tensors of large models are whole."""
COARSE = 60
"""In so many periods tensors of large models leave: parts of them first, then those of which parts did as a whole."""
_COARSE_GAP = 0.004
"""So near to its bound a plan of a large model has to be."""
LARGE = 1 / 500
"""Of large models only tensors of this share of the capacity leave, between forward and backward."""
_TROUBLE = 0.0003
"""What each action of a large model's counts, as a share of the iteration: fewer leave fewer holes."""
_SOME = 0.01
_MISSES = 2
"""After so many models of which the solver found no plan in time, no more are asked."""
_PATIENCE = 100
"""After so many small changes that bring a plan no nearer to what the model says of it, no more are tried."""
_PLACED, _IMPROVED = 6, 3
"""For so many drafts places are sought once more, and so many are changed in small ways."""
SMALL_MODEL = 20_000
"""Variables of a model that is solved as it is."""
_EFFORT, _GREAT_EFFORT, _LITTLE_EFFORT = 100_000, 600_000, 20_000
"""So many blocks are put somewhere to find a place for all: of plans, of those that found none when all were made, and
of small changes."""

Algorithms = Mapping[Key, str]


class Told(NamedTuple):
    """How far a search is: what was tried, the best plan's time (None: none fits yet), the bound, the time so far."""

    what: str
    time_ns: int | None
    bound_ns: int
    seconds: float

    @property
    def gap(self) -> float | None:
        """By what share of the bound the plan is above it."""
        return None if self.time_ns is None else self.time_ns / self.bound_ns - 1

    def __str__(self) -> str:
        plan = "no plan yet" if self.time_ns is None else f"plan {self.time_ns / 1e6:.2f} ms"
        gap = "" if self.gap is None else f", gap {100 * self.gap:.2f} %"
        return f"{self.seconds:5.1f} s  {self.what}: bound {self.bound_ns / 1e6:.2f} ms, {plan}{gap}"


class Found(NamedTuple):
    """A schedule that fits, its time on the simulated machine and, where it is the model's, by the model."""

    schedule: Schedule
    algorithms: Algorithms
    time_ns: int
    model_ns: int | None


class Draft(NamedTuple):
    """A schedule of the model's that may not fit yet."""

    schedule: Schedule
    algorithms: Algorithms
    model_ns: int


Rehearse = Callable[[Schedule, Algorithms], Rehearsal | None]
"""Runs a schedule on the simulated machine; None where it cannot be."""


@dataclass
class Search:
    """A search for an iteration's best schedule; `write` makes one of what tensors do. `limit_s` is for all of
    it, and it ends sooner where plan and bound are within `goal` of each other."""

    iteration: Iteration
    instance: Instance
    write: Callable[[Mapping[str, Action]], Schedule]
    rehearse: Rehearse
    limit_s: float
    goal: float
    told: Callable[[Told], None] = lambda _: None
    planned: Instance | None = None
    changes: Changes | None = None
    best: Found | None = None
    bound_ns: int = 0
    _least_ns: float = 0.0
    _drafts: list[Draft] = field(default_factory=list)
    _began: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        instance = self.instance
        self.bound_ns = max(self.bound_ns, instance.fastest_ns)
        if instance.capacity_bytes < instance.least_bytes:
            raise NoPlan(
                f"optimum: found a capacity of {instance.capacity_bytes} bytes, expected at least "
                f"{instance.least_bytes}: the largest operator and the weights need as much, whatever leaves"
            )

    def run(self, others: Iterable[Iterable[tuple[Schedule, Algorithms]]]) -> None:
        """Search, from what others would do: after some of these, no more are asked where the best is near the bound or
        time is up. Ctrl-C ends it with what there is by then; raises `KeyboardInterrupt` where that is no plan."""
        try:
            for some in others:
                self._try_others(some)
                if self._done():
                    break
            self._tell("other policies' plans")
            rounds = self._rounds()
            while not self._done() and (what := next(rounds, None)):
                self._tell(what)
        except Unsolvable:
            if self.best is None:
                raise self._infeasible() from None
        except KeyboardInterrupt:
            if self.best is None:
                raise
            self._tell("interrupted")

    def _try_others(self, others: Iterable[tuple[Schedule, Algorithms]]) -> None:
        for schedule, algorithms in others:
            if self.best is not None and self.best.time_ns <= self.bound_ns * (1 + self.goal / 100):
                return
            self._try(schedule, algorithms, None, _LITTLE_EFFORT)
            self._try(replace(schedule, waits=Waits.STREAMS), algorithms, None, _LITTLE_EFFORT)

    def _infeasible(self) -> NoPlan:
        host_bytes = self.instance.host_bytes
        if host_bytes is not None:
            least_bytes = self._bounding(replace(self.instance, host_bytes=None)).least_host_bytes(self._left_s)
            if least_bytes > host_bytes:
                return NoPlan(
                    f"optimum: found {host_bytes} bytes of the host's memory, expected at least {least_bytes}: so much "
                    "has to leave at once"
                )
        return NoPlan(
            f"optimum: found a capacity of {self.instance.capacity_bytes} bytes, expected more: no schedule needs so "
            "little"
        )

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return monotonic() - self._began

    @property
    def _left_s(self) -> float:
        return max(0.0, self.limit_s - self.seconds)

    def _done(self) -> bool:
        """Whether the plan is near the bound, or as near what plans can be as makes no difference, or time is up."""
        least_ns = max(self.bound_ns, self._least_ns)
        near = self.best is not None and self.best.time_ns <= least_ns * (1 + self.goal)
        return near or self._left_s <= 0

    def _tell(self, what: str) -> None:
        self.told(Told(what, None if self.best is None else self.best.time_ns, self.bound_ns, self.seconds))

    def _rounds(self) -> Iterator[str]:
        simple = size_of(self.instance) <= SMALL_MODEL
        yield from self._oldest_first()
        yield from self._first_bounds(simple)
        if simple:
            yield from self._whole_bound()
        begins = stage_begins(self.instance) if simple else weighty_begins(self.instance, COARSE)
        yield from self._plans(begins, simple)
        drafts = sorted(self._drafts, key=lambda draft: draft.model_ns)
        for number, draft in enumerate(drafts[:_PLACED], 1):
            if self.best is None or draft.model_ns < self.best.time_ns:
                self._try(draft.schedule, draft.algorithms, draft.model_ns, _GREAT_EFFORT)
                yield f"places for plan {number}"
        for number, draft in enumerate(drafts[:_IMPROVED], 1):
            self._improve(draft, self._left_s / 4)
            yield f"small changes of plan {number}"
        if self.best is not None:
            self._improve(Draft(self.best.schedule, self.best.algorithms, self.best.model_ns or 0), self._left_s)
            yield "small changes of the best"

    def _oldest_first(self) -> Iterator[str]:
        """Plans without a solver, in all of the memory and, while they may be quicker, in less and less."""
        for margin in _MARGINS:
            room = self._choosable(self.instance.within(int(self.instance.capacity_bytes * (1 - margin))), simple=False)
            room = in_periods(room, stage_begins(room))
            solution = oldest_first(room)
            if solution is None or not self._may_be_quicker(solution):
                return
            schedule = self.write(actions_of(self.iteration, room, solution, room=room))
            self._try(schedule, _algorithms(room, solution), None, _LITTLE_EFFORT)
            yield f"oldest first in {100 * (1 - margin):.0f} % of the memory"

    def _may_be_quicker(self, solution: Solution) -> bool:
        assert solution.time_ns is not None
        return self.best is None or solution.time_ns < self.best.time_ns

    def _first_bounds(self, simple: bool) -> Iterator[str]:
        for count in _MARKS:
            if count < len(self.instance.steps):
                model = self._bounding(at_marks(self.instance, tightest(self.instance, count)))
                solution = model.solve(whole=False, seconds=self._left_s / 8)
                self._raise_bound(solution)
                yield f"relaxation at {count} kernels"
                if solution.time_ns is None:  # out of time, as finer ones would be
                    return
                if not simple and count == _WHOLE_MARKS:
                    self._raise_bound(model.solve(whole=True, seconds=self._left_s / 8, gap=self.goal / 4))
                    yield f"whole tensors at {count} kernels"

    def _whole_bound(self) -> Iterator[str]:
        model = self._bounding(self.instance)
        self._raise_bound(model.solve(whole=False, seconds=self._left_s / 4))
        yield "relaxation"
        self._raise_bound(model.solve(whole=True, seconds=self._left_s / 4, gap=self.goal / 4))
        yield "whole tensors"

    def _improve(self, draft: Draft, seconds: float) -> None:
        end = self.seconds + seconds
        limit_ns = None

        def rehearse(schedule: Schedule) -> tuple[Schedule, Rehearsal] | None:
            return self._rehearse(schedule, draft.algorithms, _LITTLE_EFFORT, limit_ns)

        def go_on() -> bool:
            return self.seconds < end and not self._done()

        for schedule, tried in improve(
            self.iteration, replace(draft.schedule, addresses=()), rehearse, go_on, self.changes
        ):
            limit_ns = tried.time_ns if tried.fits else None
            self._keep(schedule, draft.algorithms, tried, draft.model_ns or None)

    def _bounding(self, instance: Instance) -> Model:
        """The model below whose optimum no schedule is."""
        return Model(instance, bounding=True)

    def _raise_bound(self, solution: Solution) -> None:
        """The solver's own tolerance is taken off."""
        self.bound_ns = max(self.bound_ns, int(solution.bound_ns * (1 - 1e-6)))

    def _margins(self, simple: bool) -> tuple[float, ...]:
        return _MARGINS if simple else _MARGINS_OF_LARGE

    def _plans(self, begins: list[int], simple: bool) -> Iterator[str]:
        """Plans in all of the memory and, as long as those of the model may still be quicker, in less and less."""
        useless = 1.0
        misses = 0
        for margin in self._margins(simple):
            if margin >= useless:
                continue
            what = f"plans in {100 * (1 - margin):.0f} % of the memory"
            room = (self.planned or self.instance).within(int(self.instance.capacity_bytes * (1 - margin)))
            try:
                instance, solution = self._solve(self._choosable(room, simple), begins, simple)
            except Unsolvable:
                useless = margin
                yield f"{what}: none"
                continue
            if margin == 0 and simple:
                self._least_ns = solution.bound_ns
            if solution.time_ns is None:
                yield f"{what}: none found in time"
                misses += 1
                if misses == _MISSES:
                    return
                continue
            self._try_solution(instance, solution, in_periods(room, stage_begins(room)))
            yield what
            if self.best is not None and solution.bound_ns >= self.best.time_ns:
                useless = margin

    def _solve(self, choosable: Instance, begins: list[int], simple: bool) -> tuple[Instance, Solution]:
        instance = in_periods(choosable, begins)
        if simple:
            return instance, Model(instance).solve(whole=True, seconds=self._left_s / 4, gap=self.goal / 4)
        model = Model(instance, shares=True, trouble=_TROUBLE)
        shares = model.solve(whole=True, seconds=self._left_s / 8, gap=_COARSE_GAP)
        if shares.time_ns is None:
            return instance, shares
        acting = {gap.tensor for gap, gone in zip(instance.gaps, shares.gone, strict=True) if max(gone) > _SOME}
        fewer = in_periods(only(choosable, lambda gap: gap.tensor in acting), begins)
        whole = Model(fewer, trouble=_TROUBLE).solve(whole=True, seconds=self._left_s / 6, gap=_COARSE_GAP)
        return (instance, shares) if whole.time_ns is None else (fewer, whole)

    def _choosable(self, instance: Instance, simple: bool) -> Instance:
        """The instance with what the plan's model asks of: no more is made again than one thing for each; in large
        models, only large tensors leave, between forward and backward."""
        gaps = [gap._replace(remake_ns=None, sources=()) if gap.others else gap for gap in instance.gaps]
        instance = replace(instance, gaps=tuple(gaps))
        stages = self.iteration.stages

        def leaves(gap: Gap) -> bool:
            between = not stages[gap.uses.before].backward and stages[gap.uses.after].backward
            return between and gap.size_bytes > instance.capacity_bytes * LARGE

        return instance if simple else only(instance, leaves)

    def _try_solution(self, instance: Instance, solution: Solution, room: Instance) -> None:
        algorithms = _algorithms(instance, solution)
        assert solution.time_ns is not None
        model_ns = round(solution.time_ns)
        written: list[Mapping[str, Action]] = []
        for where, patient in product((room, None), (False, True)):
            actions = actions_of(self.iteration, instance, solution, patient, where)
            if any(list(actions.items()) == list(others.items()) for others in written):
                continue
            written.append(actions)
            schedule = self.write(actions)
            schedule = self._as_quick_as_said(Draft(schedule, algorithms, model_ns), room.capacity_bytes)
            self._drafts.append(Draft(schedule, algorithms, model_ns))
            fits_or_placed = self._try(schedule, algorithms, model_ns)
            for laid_out in () if fits_or_placed else _layouts(self.iteration, schedule):
                self._try(laid_out, algorithms, model_ns)
            if self._done() or (self.best is not None and self.best.time_ns <= model_ns * (1 + self.goal)):
                return

    def _as_quick_as_said(self, draft: Draft, room_bytes: int) -> Schedule:
        """The draft with small changes that bring it nearer to the model's time, as if all blocks found places."""

        def rehearse(schedule: Schedule) -> tuple[Schedule, Rehearsal] | None:
            tried = self.rehearse(schedule, draft.algorithms)
            if tried and tried.lives and most_bytes(tried.lives) <= room_bytes:
                tried = Rehearsal(tried.time_ns)
            return tried and (schedule, tried)

        found, time_ns, tries = draft.schedule, 0, 0

        def go_on() -> bool:
            nonlocal tries
            tries += 1
            return time_ns > draft.model_ns * (1 + self.goal) and tries <= _PATIENCE and not self._done()

        for schedule, tried in improve(self.iteration, draft.schedule, rehearse, go_on):
            if tried.fits:
                found, time_ns, tries = schedule, tried.time_ns, 0
        return found

    def _try(self, schedule: Schedule, algorithms: Algorithms, model_ns: int | None, effort: int = _EFFORT) -> bool:
        """Whether another layout would not help: it fits, cannot be, or was to say itself where blocks lie."""
        tried = self._rehearse(schedule, algorithms, effort, self.best and self.best.time_ns)
        if tried is None:
            return True
        self._keep(tried[0], algorithms, tried[1], model_ns)
        return tried[1].fits or bool(tried[1].lives)

    def _rehearse(
        self, schedule: Schedule, algorithms: Algorithms, effort: int, limit_ns: int | None
    ) -> tuple[Schedule, Rehearsal] | None:
        """The schedule, with a place for each block where the pool finds none by itself and it takes no more than
        `limit_ns`, and what comes of it; None where it cannot be. Where it fits with the places it names, it keeps
        them."""
        if schedule.addresses and (placed := self.rehearse(schedule, algorithms)) and placed.fits:
            return schedule, placed
        schedule = replace(schedule, addresses=())
        tried = self.rehearse(schedule, algorithms)
        if tried is None or tried.fits or not tried.lives:
            return None if tried is None else (schedule, tried)
        if limit_ns is not None and tried.time_ns > limit_ns:
            return schedule, tried
        addresses = pack(tried.lives, self.instance.capacity_bytes, effort)
        if addresses is None:
            return schedule, tried
        schedule = replace(schedule, addresses=addresses)
        again = self.rehearse(schedule, algorithms)
        return None if again is None else (schedule, again)

    def _keep(self, schedule: Schedule, algorithms: Algorithms, tried: Rehearsal, model_ns: int | None) -> None:
        """The quicker; of two that are as quick the solver's, of which the model says something."""
        found = Found(schedule, algorithms, tried.time_ns, model_ns)
        if tried.fits and (self.best is None or _rank(found) < _rank(self.best)):
            self.best = found


def _rank(found: Found) -> tuple[int, bool]:
    return found.time_ns, found.model_ns is None


def size_of(instance: Instance) -> int:
    """About how many variables its model has."""
    return sum(4 * (gap.last - gap.first + 1) for gap in instance.gaps)


def _algorithms(instance: Instance, solution: Solution) -> Algorithms:
    return {step.key: name for step, name in zip(instance.steps, solution.algorithms, strict=True)}


def _layouts(iteration: Iteration, schedule: Schedule) -> Iterator[Schedule]:
    """The schedule with more and more of what it keeps taken before the iteration, side by side, so that what comes and
    goes leaves no holes between."""
    kept = [
        name
        for name, tensor in iteration.tensors.items()
        if tensor.buffer.memory_class is MemoryClass.FEATURE_MAPS
        and name not in schedule.actions
        and name not in schedule.before
        and name in iteration.first_read_in_backward
    ]
    kept.sort(key=lambda name: iteration.last_stage[name])
    for share in (1.0, 0.75, 0.5, 0.25):
        some = kept[: round(len(kept) * share)]
        if some:
            yield replace(schedule, before=(*schedule.before, *some))
