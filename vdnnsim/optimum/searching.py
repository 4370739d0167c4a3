"""The search: a bound from below, plans from above, nearer to each other until they are near enough or time is up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Iteration, Key, MemoryClass, Schedule, Waits, WeightGradients
from vdnnsim.optimum.improving import improve
from vdnnsim.optimum.instance import Gap, Instance
from vdnnsim.optimum.model import Model, Solution, Unsolvable
from vdnnsim.optimum.planning import schedule_of
from vdnnsim.optimum.rehearsal import Rehearsal

_MARGINS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.09, 0.13, 0.18, 0.25)
"""Shares of the capacity that plans do without, since blocks do not lie without holes."""
_FEW_MARGINS = (0.03, 0.0, 0.08)
"""The same of models that take long to solve."""
_LARGE = 1 / 500
"""Of large models only tensors of this share of the capacity leave, between forward and backward, ..."""
_COARSE = 40
"""... and at so many places."""
_IMPROVED = 3
"""So many drafts are changed in small ways."""
_SMALL_MODEL = 20_000
"""Variables of a model that is solved as it is."""
_LARGE_MODEL = 300_000
"""Variables of a model that is solved at all; beyond, kernels are the bound, and other policies' plans are changed."""

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


class _Draft(NamedTuple):
    """A schedule of the model's that may not fit yet."""

    schedule: Schedule
    algorithms: Algorithms
    model_ns: int


Rehearse = Callable[[Schedule, Algorithms], Rehearsal | None]
"""Runs a schedule on the simulated machine; None where it cannot be."""


@dataclass
class Search:
    """A search for an iteration's best schedule. `limit_s` is for all of
    it, and it ends sooner where plan and bound are within `goal` of each other."""

    iteration: Iteration
    instance: Instance
    weight_gradients: WeightGradients
    rehearse: Rehearse
    limit_s: float
    goal: float
    told: Callable[[Told], None] = lambda _: None
    best: Found | None = None
    bound_ns: int = 0
    _drafts: list[_Draft] = field(default_factory=list)
    _began: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        instance = self.instance
        self.bound_ns = instance.fastest_ns
        if instance.capacity_bytes < instance.least_bytes:
            raise InvalidInput(
                f"optimum: found a capacity of {instance.capacity_bytes} bytes, expected at least "
                f"{instance.least_bytes}: the largest operator and the weights need as much, whatever leaves"
            )

    def run(self, others: Iterable[tuple[Schedule, Algorithms]]) -> None:
        """Search. Ctrl-C ends it with what there is by then; raises `KeyboardInterrupt` where no plan was found yet."""
        try:
            for schedule, algorithms in others:
                self._try(schedule, algorithms, None)
                self._try(replace(schedule, waits=Waits.STREAMS), algorithms, None)
            self._tell("other policies' plans")
            rounds = self._rounds()
            while not self._done() and (what := next(rounds, None)):
                self._tell(what)
        except KeyboardInterrupt:
            if self.best is None:
                raise
            self._tell("interrupted")

    @property
    def seconds(self) -> float:
        """How long it has taken."""
        return monotonic() - self._began

    @property
    def _left_s(self) -> float:
        return max(0.0, self.limit_s - self.seconds)

    def _done(self) -> bool:
        near = self.best is not None and self.best.time_ns <= self.bound_ns * (1 + self.goal)
        return near or self._left_s <= 0

    def _tell(self, what: str) -> None:
        self.told(Told(what, None if self.best is None else self.best.time_ns, self.bound_ns, self.seconds))

    def _rounds(self) -> Iterator[str]:
        size = sum(4 * (gap.last - gap.first + 1) for gap in self.instance.gaps)
        simple = size <= _SMALL_MODEL
        if simple:
            yield from self._whole_bound()
        if size <= _LARGE_MODEL:
            for margin in _MARGINS if simple else _FEW_MARGINS:
                yield self._plan(margin, simple)
        drafts = sorted(self._drafts, key=lambda draft: draft.model_ns)[:_IMPROVED]
        for number, draft in enumerate(drafts, 1):
            self._improve(draft, self._left_s / 4)
            yield f"small changes of plan {number}"
        if self.best is not None:
            share = 1.0 if simple else 0.6
            self._improve(
                _Draft(self.best.schedule, self.best.algorithms, self.best.model_ns or 0), share * self._left_s
            )
            yield "small changes of the best"
        if size <= _LARGE_MODEL and not simple:
            self._raise_bound(Model(_relaxed(self.instance)).solve(whole=False, seconds=self._left_s))
            yield "relaxation"

    def _whole_bound(self) -> Iterator[str]:
        model = Model(self.instance)
        self._raise_bound(model.solve(whole=False, seconds=self._left_s / 4))
        yield "relaxation"
        self._raise_bound(model.solve(whole=True, seconds=self._left_s / 4, gap=self.goal / 4))
        yield "whole tensors"

    def _improve(self, draft: _Draft, seconds: float) -> None:
        end = self.seconds + seconds

        def rehearse(schedule: Schedule) -> Rehearsal | None:
            return self.rehearse(schedule, draft.algorithms)

        def go_on() -> bool:
            return self.seconds < end and not self._done()

        for schedule, tried in improve(self.iteration, draft.schedule, rehearse, go_on):
            self._keep(schedule, draft.algorithms, tried, draft.model_ns or None)

    def _raise_bound(self, solution: Solution) -> None:
        """The solver's own tolerance is taken off."""
        self.bound_ns = max(self.bound_ns, int(solution.bound_ns * (1 - 1e-6)))

    def _plan(self, margin: float, simple: bool) -> str:
        capacity_bytes = int(self.instance.capacity_bytes * (1 - margin))
        gaps = (gap._replace(remake_ns=None, sources=()) if gap.others else gap for gap in self.instance.gaps)
        instance = replace(self.instance, capacity_bytes=capacity_bytes, gaps=tuple(gaps))
        changes = begins = _begins(instance)
        if not simple:
            instance = replace(instance, gaps=tuple(_large(instance, self.iteration)))
            changes = begins[:: max(1, len(begins) // _COARSE)]
        what = f"plans in {100 * (1 - margin):.0f} % of the memory"
        try:
            model = Model(instance, frozenset(changes))
            solution = model.solve(whole=True, seconds=self._left_s / 8, gap=self.goal / 4)
        except Unsolvable:
            return f"{what}: none"
        if solution.time_ns is None:
            return f"{what}: none found in time"
        algorithms = {step.key: name for step, name in zip(instance.steps, solution.algorithms, strict=True)}
        schedules = [
            schedule_of(self.iteration, instance, solution, self.weight_gradients, patient=patient)
            for patient in (False, True)
        ]
        for schedule in schedules:
            self._drafts.append(_Draft(schedule, algorithms, round(solution.time_ns)))
            for laid_out in _layouts(self.iteration, schedule):
                self._try(laid_out, algorithms, round(solution.time_ns))
                if self._done():
                    return what
        return what

    def _try(self, schedule: Schedule, algorithms: Algorithms, model_ns: int | None) -> None:
        tried = self.rehearse(schedule, algorithms)
        if tried is not None:
            self._keep(schedule, algorithms, tried, model_ns)

    def _keep(self, schedule: Schedule, algorithms: Algorithms, tried: Rehearsal, model_ns: int | None) -> None:
        if tried.fits and (self.best is None or tried.time_ns < self.best.time_ns):
            self.best = Found(schedule, algorithms, tried.time_ns, model_ns)


def _begins(instance: Instance) -> list[int]:
    """The first step of each stage."""
    steps = instance.steps
    return [number for number, step in enumerate(steps) if number == 0 or steps[number - 1].stage < step.stage]


def _large(instance: Instance, iteration: Iteration) -> Iterator[Gap]:
    """The gaps of large tensors between forward and backward, which are not made again."""
    for gap in instance.gaps:
        before, after = (iteration.stages[instance.steps[step].stage] for step in (max(0, gap.first - 1), gap.needed))
        if not before.backward and after.backward and gap.size_bytes > instance.capacity_bytes * _LARGE:
            yield gap._replace(remake_ns=None, sources=())


def _relaxed(instance: Instance) -> Instance:
    """An instance whose optimum is no larger, and sooner found: small tensors, and those used again soon, take no room
    while they are not used, and things are made again out of nothing."""
    wide = len(instance.steps) / 10
    gaps = [
        gap._replace(sources=())
        for gap in instance.gaps
        if gap.size_bytes > instance.capacity_bytes * _LARGE and gap.last - gap.first >= wide
    ]
    return replace(instance, gaps=tuple(gaps))


def _layouts(iteration: Iteration, schedule: Schedule) -> Iterator[Schedule]:
    """The schedule with more and more of what it keeps taken before the iteration, side by side, so that what comes and
    goes leaves no holes between."""
    yield schedule
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
