"""What a policy decides, and what it may ask while deciding.

A policy is a class with a `name` and two methods: `check` says before anything runs whether it can work on this
problem, `plan` returns a `Plan`. It knows what is trained, the trace and the GPU, never a clock or a pool; one that
decides by trying, as vDNN-dyn does, asks the problem's `Laboratory`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile
from vdnnsim.iteration import Iteration, Layout, Schedule, WeightGradients
from vdnnsim.network import Kind, Network, iteration_of
from vdnnsim.optimum.rehearsal import Rehearsal
from vdnnsim.policies.schedules import write_schedule
from vdnnsim.policies.workload import Workload
from vdnnsim.trace import Trace

if TYPE_CHECKING:
    from vdnnsim.captured.step import CapturedStep

Algorithms = Mapping[tuple[str, str], str]
"""The algorithm of each (layer, pass)."""
Workspaces = Mapping[tuple[str, str], int]
"""The workspace of each (layer, pass) under its algorithm, in bytes."""


class Bound(NamedTuple):
    """What a solver proved: no iteration takes less than `bound_ns`. `model_ns` is what its model says that the plan
    takes (None: it was found without the solver), `seconds` how long it sought."""

    bound_ns: int
    model_ns: int | None
    seconds: float


@dataclass(frozen=True)
class Plan:
    """How one iteration is to be run.

    `schedule` says what becomes of each tensor and who waits; `algorithms` has one entry for every kernel of the
    iteration and `workspaces` the bytes each needs. `endless` marks the oracle, whose memory is never too small. A plan
    of a solver says what `bound` it proved.
    """

    schedule: Schedule
    algorithms: Algorithms
    workspaces: Workspaces
    endless: bool = False
    trials: tuple[Trial, ...] = ()
    bound: Bound | None = None

    @property
    def layout(self) -> Layout:
        return self.schedule.layout

    @property
    def offload(self) -> frozenset[str]:
        """The layers whose X leaves, in the words of the policy."""
        return self.schedule.offload

    @property
    def deferred(self) -> frozenset[str]:
        """The layers whose backward prefetches nothing, because what was wanted found no room."""
        return self.schedule.deferred

    def __repr__(self) -> str:
        return f"<Plan {self.layout.value}: {len(self.offload)} layers offload, {len(self.algorithms)} kernels>"

    def with_algorithms(self, algorithms: Algorithms, trace: Trace) -> Plan:
        """The same plan with other algorithms, and the workspaces that the trace says they need."""
        return replace(self, algorithms=algorithms, workspaces=workspaces_of(algorithms, trace))


class Trial(NamedTuple):
    """One configuration that a policy tried: the time and peak it would have, and why it was not taken; for want of the
    GPU's memory, unless not `on_device`."""

    title: str
    plan: Plan
    fits: bool
    iteration_time_ns: int
    peak_bytes: int
    reason: str
    on_device: bool = True

    @property
    def verdict(self) -> str:
        return "fits" if self.fits else f"rejected: {self.reason}"


class Laboratory(Protocol):
    """Where a policy tries plans: on the simulated machine when simulating, on the real one when calibrating."""

    def attempt(self, title: str, plan: Plan) -> Trial:
        """Run one iteration of the plan in a pool of the GPU's capacity."""

    def rehearse(self, plan: Plan) -> Rehearsal:
        """Simulate one iteration of a plan, whatever machine it is for, and forget it."""

    def shrink_workspaces(self, plan: Plan) -> Plan:
        """The plan with each CONV pass that finds no room moved to its next slower algorithm with less workspace, as
        often as needed; passes that cannot be made to fit keep their last one."""


@dataclass(frozen=True)
class Problem:
    """What a policy decides about."""

    workload: Workload
    trace: Trace
    gpu: GpuProfile
    laboratory: Laboratory
    weight_gradients: WeightGradients = WeightGradients.PER_LAYER

    @property
    def network(self) -> Network:
        """The network that is trained. Raises `InvalidInput` where it is a captured step."""
        return self.workload.network

    @property
    def step(self) -> CapturedStep:
        """The captured step that is trained. Raises `InvalidInput` where it is a network."""
        return self.workload.step

    @cached_property
    def iteration(self) -> Iteration:
        """What is trained as operators and tensors."""
        return self.workload.iteration(self.trace)

    @cached_property
    def memory_optimal(self) -> Algorithms:
        """As the function, of what is trained."""
        return {key: self.trace.leanest(*key).algorithm for key in self.workload.kernels(self.trace)}

    @cached_property
    def performance_optimal(self) -> Algorithms:
        """As the function, of what is trained."""
        return {key: self.trace.fastest(*key).algorithm for key in self.workload.kernels(self.trace)}


class Policy(Protocol):
    """The protocol that built-in and users' policies follow."""

    @property
    def name(self) -> str: ...

    def check(self, problem: Problem) -> None:
        """Raise `InvalidInput` where the policy cannot work on this problem; called before `plan`."""

    def plan(self, problem: Problem) -> Plan:
        """Decide. Called once for each run."""


def memory_optimal(network: Network, trace: Trace) -> Algorithms:
    """(m): for every pass the algorithm with least workspace, implicit GEMM for CONV (paper: no workspace at all)."""
    return {key: trace.leanest(*key).algorithm for key in kernels_of(network, trace)}


def performance_optimal(network: Network, trace: Trace) -> Algorithms:
    """(p): for every pass the fastest algorithm whatever its workspace; each pass of a CONV chooses for itself."""
    return {key: trace.fastest(*key).algorithm for key in kernels_of(network, trace)}


def workspaces_of(algorithms: Algorithms, trace: Trace) -> Workspaces:
    """The workspace of each pass under these algorithms."""
    return {key: trace.row(*key, algorithm).workspace_bytes for key, algorithm in algorithms.items()}


def kernels_of(network: Network, trace: Trace) -> list[tuple[str, str]]:
    """Every (layer, pass) that one iteration runs: of what training may run what the trace has a row for."""
    return [key for key in network.passes if key in trace.by_pass]


def make_plan(problem: Problem, layout: Layout, offload: Iterable[str], algorithms: Algorithms) -> Plan:
    """A plan from its decisions, with one of the paper's schedules; the workspaces follow from the algorithms."""
    schedule = problem.workload.schedule(problem.trace, layout, frozenset(offload), problem.weight_gradients)
    return Plan(schedule, algorithms, workspaces_of(algorithms, problem.trace))


def plan_of(
    network: Network,
    layout: Layout,
    offload: Iterable[str],
    algorithms: Algorithms,
    workspaces: Workspaces,
    weight_gradients: WeightGradients = WeightGradients.PER_LAYER,
    deferred: Iterable[str] = (),
) -> Plan:
    """As `make_plan`, where there is no trace yet."""
    iteration = iteration_of(network, frozenset(algorithms))
    return Plan(write_schedule(iteration, layout, offload, weight_gradients, deferred), algorithms, workspaces)


def check_plan(plan: Plan, workload: Workload, trace: Trace) -> None:
    """Raise `InvalidInput` for a plan that is not one for what is trained and the trace: an unknown name, a kernel left
    out or unknown, an algorithm that the trace lacks, a workspace that is not the trace's."""
    if not isinstance(plan, Plan):
        raise InvalidInput(f"plan: found {type(plan).__name__}, expected a Plan, such as make_plan returns")
    for field, names in (("offload", plan.offload), ("deferred", plan.deferred)):
        if not isinstance(names, frozenset):
            raise InvalidInput(f"plan: {field}: found a {type(names).__name__}, expected a frozenset of layers' names")
        if unknown := workload.unknown(names):
            raise InvalidInput(f"plan: {field}: found '{unknown[0]}', expected names of layers of {workload.name}")
    wanted = set(workload.kernels(trace))
    for found, keys in (
        ("no algorithm", wanted - plan.algorithms.keys()),
        ("an algorithm", plan.algorithms.keys() - wanted),
    ):
        if keys:
            layer, pass_ = min(keys)
            expected = "one for each pass that an iteration runs, and no other"
            raise InvalidInput(f"plan: algorithms: found {found} for {pass_} of '{layer}', expected {expected}")
    for (layer, pass_), size_bytes in workspaces_of(plan.algorithms, trace).items():
        stated_bytes = plan.workspaces.get((layer, pass_))
        if stated_bytes != size_bytes:
            raise InvalidInput(
                f"plan: workspaces: found {stated_bytes} bytes for {pass_} of '{layer}', "
                f"expected the {size_bytes} bytes that '{plan.algorithms[layer, pass_]}' needs"
            )


def feature_extraction_layers(network: Network, kinds: Iterable[Kind] = tuple(Kind)) -> frozenset[str]:
    """Layers before the classifier, of these kinds, that read an X which is not their own Y: those vDNN manages."""
    wanted = frozenset(kinds)
    return frozenset(
        layer.name
        for layer in network.layers
        if layer.kind in wanted and not network.in_classifier(layer.name) and network.input_maps(layer)
    )
