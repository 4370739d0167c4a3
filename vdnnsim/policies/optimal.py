"""The best plan that a solver finds, with a bound that no plan can be below (docs/optimum.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from vdnnsim.captured.trace import uninterrupted_ppm
from vdnnsim.errors import InvalidInput, NoPlan
from vdnnsim.iteration import Action, BrokenSchedule, Schedule
from vdnnsim.policies.baseline import Baseline
from vdnnsim.policies.capuchin import Capuchin
from vdnnsim.policies.checkpoint import Checkpoint
from vdnnsim.policies.dtr import Dtr
from vdnnsim.policies.flashneuron import FlashNeuron
from vdnnsim.policies.g10 import G10
from vdnnsim.policies.grammar import NO, YES, Parameter, choice, count, name_of, shown_size, size_or_none
from vdnnsim.policies.offload import Offload
from vdnnsim.policies.plan import Algorithms, Bound, Plan, Policy, Problem, workspaces_of
from vdnnsim.policies.superneurons import SuperNeurons
from vdnnsim.policies.te import TransformerEngine
from vdnnsim.policies.variants import Variant
from vdnnsim.policies.vdnn_conv_recompute import VdnnConvRecompute
from vdnnsim.policies.vdnn_dyn import VdnnDyn
from vdnnsim.policies.vdnn_plus_plus import VdnnPlusPlus
from vdnnsim.units import PPM

if TYPE_CHECKING:
    from vdnnsim.optimum import Instance, Rehearsal, Told

_GOAL = 0.001


@dataclass(frozen=True)
class Optimal:
    """The schedule of least iteration time: what leaves, when it is back, what is made again, each pass's algorithm.

    It stops after `seconds`, or when plan and bound are within a thousandth of each other. What leaves needs no more
    than `host_bytes` of the host's memory (None: whatever it is). `told` hears how far it is. Of a captured step,
    blocks of saved tensors leave, or are made again one by one, which hooks in PyTorch cannot do: where `remake` is
    "no", nothing is, and the bound is of such schedules. `known` plans, such as those for less memory, are tried as
    they are: the optimum is no slower.
    """

    seconds: int = 60
    host_bytes: int | None = None
    remake: str = YES
    told: Callable[[Told], None] | None = None
    known: tuple[Plan, ...] = ()

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "seconds": Parameter("seconds", count),
            "host": Parameter("host_bytes", size_or_none, shown_size),
            "remake": Parameter("remake", choice(YES, NO)),
        }
    )

    @property
    def name(self) -> str:
        return name_of("optimal", replace(self, told=None, known=()))

    def check(self, _problem: Problem) -> None:
        """A solver."""
        try:
            import scipy.optimize  # noqa: F401
        except ImportError:
            raise InvalidInput("policy 'optimal': found no scipy, expected it: pip install scipy") from None

    def plan(self, problem: Problem) -> Plan:
        from vdnnsim.optimum import Search, StepSearch, changes_of_step

        def rehearse(schedule: Schedule, algorithms: Algorithms) -> Rehearsal | None:
            if self._beyond_host(problem, schedule) or (self._leaves_only and schedule.makes_again):
                return None
            try:
                return problem.laboratory.rehearse(_plan(problem, schedule, algorithms))
            except BrokenSchedule:
                return None

        begun = _begun(problem)
        instance = self._instance(problem, begun, planned=False)
        told = self.told or (lambda _: None)
        write = partial(_schedule, problem)
        search = Search(problem.iteration, instance, write, rehearse, self.seconds, _GOAL, told)
        if begun is not None:
            planned = self._instance(problem, begun, planned=True)
            changes = changes_of_step(problem.step, remake=not self._leaves_only)
            search = StepSearch(
                problem.iteration, instance, write, rehearse, self.seconds, _GOAL, told, planned, changes
            )
            search.time_ns = partial(_time_ns, problem)
            search.bound_ns = max(search.bound_ns, begun.rehearsal.time_ns)
        search.run(((plan.schedule, plan.algorithms) for plan in plans) for plans in (self.known, *_others(problem)))
        if search.best is None:
            raise NoPlan(
                f"policy '{self.name}': found no plan that fits within {self.seconds} s, expected more time or memory: "
                f"no iteration takes less than {search.bound_ns / 1e6:.2f} ms"
            )
        bound = Bound(search.bound_ns, search.best.model_ns, search.seconds)
        return replace(_plan(problem, search.best.schedule, search.best.algorithms), bound=bound)

    @property
    def _leaves_only(self) -> bool:
        return self.remake == NO

    def _instance(self, problem: Problem, begun: _Begun | None, planned: bool) -> Instance:
        instance = replace(_instance(problem, begun, planned), host_bytes=self.host_bytes)
        return instance.without_remakes() if self._leaves_only else instance

    def _beyond_host(self, problem: Problem, schedule: Schedule) -> bool:
        buffers = problem.iteration.buffers
        left_bytes = sum(buffers[name].size_bytes for name in schedule.leaves)
        return self.host_bytes is not None and left_bytes > self.host_bytes


def _time_ns(problem: Problem, schedule: Schedule) -> float:
    """What a schedule takes in endless memory; infinity where it cannot be."""
    try:
        return problem.laboratory.rehearse(replace(_plan(problem, schedule, {}), endless=True)).time_ns
    except BrokenSchedule:
        return inf


class _Begun(NamedTuple):
    """A captured step where nothing leaves, with hooks or without."""

    rehearsal: Rehearsal
    hooked: bool


def _begun(problem: Problem) -> _Begun | None:
    """What comes of a captured step where nothing leaves, with hooks where it does not fit without: whatever leaves,
    its kernels, launches and hooks stay, and the host does more between them. Where a card's power holds kernels down
    as long as nothing leaves, that says nothing of when they begin elsewhere."""
    from vdnnsim.optimum import Rehearsal

    if not problem.workload.one_way:
        return None
    plan = Baseline(Variant.ONLY).plan(problem)
    rehearsed = problem.laboratory.rehearse(plan)
    hooked = not rehearsed.fits
    if hooked:
        with_hooks = replace(plan, schedule=replace(plan.schedule, hooked=True), endless=True)
        rehearsed = problem.laboratory.rehearse(with_hooks)
    if uninterrupted_ppm(problem.step) > PPM:
        rehearsed = Rehearsal(0, begins_ns=(0,) * len(problem.step.kernels))
    return _Begun(rehearsed, hooked)


def _plan(problem: Problem, schedule: Schedule, algorithms: Algorithms) -> Plan:
    """The plan; each kernel of a captured step has one algorithm."""
    if problem.workload.one_way:
        algorithms = problem.performance_optimal
    return Plan(schedule, dict(algorithms), workspaces_of(algorithms, problem.trace))


def _instance(problem: Problem, begun: _Begun | None, planned: bool) -> Instance:
    from vdnnsim.optimum import instance_of, instance_of_step

    link, capacity_bytes = problem.gpu.link, problem.gpu.capacity_bytes
    if begun is not None:
        return instance_of_step(problem.step, link, capacity_bytes, begun.rehearsal, planned, begun.hooked)
    return instance_of(problem.iteration, problem.trace, link, capacity_bytes, problem.weight_gradients)


def _schedule(problem: Problem, actions: Mapping[str, Action]) -> Schedule:
    from vdnnsim.optimum import schedule_of, schedule_of_step

    if problem.workload.one_way:
        return schedule_of_step(problem.step, actions)
    return schedule_of(problem.iteration, actions, problem.weight_gradients)


def _others(problem: Problem) -> Iterator[Iterable[Plan]]:
    """What the other policies would do, as far as they can here: the optimum is no slower. Those that take long to plan
    large networks come last, each by itself."""
    one_way = problem.workload.one_way
    quick: tuple[Policy, ...] = (
        Baseline(Variant.ONLY if one_way else Variant.P),
        VdnnDyn(),
        VdnnPlusPlus(),
        VdnnConvRecompute(),
        TransformerEngine(),
        Capuchin(),
        SuperNeurons(),
        Dtr(),
        Checkpoint(),
        *([Offload("everything", ahead=0, in_flight_bytes=0, min_bytes=0)] if one_way else []),  # of all it needs least
    )
    yield _plans(problem, quick)
    yield _plans(problem, (FlashNeuron(),))
    yield _plans(problem, (G10(),))


def _plans(problem: Problem, policies: Iterable[Policy]) -> Iterator[Plan]:
    """As they come to fit, with what is put off, so that no rehearsal has to find that once more."""
    for policy in policies:
        try:
            policy.check(problem)
            trial = problem.laboratory.attempt(policy.name, policy.plan(problem))
        except InvalidInput:
            continue
        yield trial.plan
