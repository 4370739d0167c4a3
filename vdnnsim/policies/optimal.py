"""The best plan that a solver finds, with a bound that no plan can be below (docs/optimum.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import BrokenSchedule, Iteration, Schedule
from vdnnsim.policies.baseline import Baseline
from vdnnsim.policies.grammar import Parameter, count, name_of
from vdnnsim.policies.plan import Algorithms, Bound, Plan, Policy, Problem, workspaces_of
from vdnnsim.policies.variants import Variant
from vdnnsim.policies.vdnn_conv_recompute import VdnnConvRecompute
from vdnnsim.policies.vdnn_dyn import VdnnDyn
from vdnnsim.policies.vdnn_plus_plus import VdnnPlusPlus

if TYPE_CHECKING:
    from vdnnsim.optimum import Instance, Rehearsal, Told

_GOAL = 0.001


@dataclass(frozen=True)
class Optimal:
    """The schedule of least iteration time: what leaves, when it is back, what is made again, each pass's algorithm.

    It stops after `seconds`, or when plan and bound are within a thousandth of each other. `told` hears how far it is.
    Of a network of layers.
    """

    seconds: int = 60
    told: Callable[[Told], None] | None = None

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({"seconds": Parameter("seconds", count)})

    @property
    def name(self) -> str:
        return name_of("optimal", replace(self, told=None))

    def check(self, problem: Problem) -> None:
        """A network, in which the largest operator has room, and a solver."""
        _ = problem.network
        try:
            import scipy.optimize  # noqa: F401
        except ImportError:
            raise InvalidInput("policy 'optimal': found no scipy, expected it: pip install scipy") from None

    def plan(self, problem: Problem) -> Plan:
        from vdnnsim.optimum import Search

        iteration = problem.iteration

        def rehearse(schedule: Schedule, algorithms: Algorithms) -> Rehearsal | None:
            try:
                return problem.laboratory.rehearse(Plan(schedule, algorithms, workspaces_of(algorithms, problem.trace)))
            except BrokenSchedule:
                return None

        told = self.told or (lambda _: None)
        search = Search(
            iteration, _instance(problem, iteration), problem.weight_gradients, rehearse, self.seconds, _GOAL, told
        )
        search.run((plan.schedule, plan.algorithms) for plan in _others(problem))
        if search.best is None:
            raise InvalidInput(
                f"policy '{self.name}': found no plan that fits within {self.seconds} s, expected more time or memory: "
                f"no iteration takes less than {search.bound_ns / 1e6:.2f} ms"
            )
        algorithms = dict(search.best.algorithms)
        bound = Bound(search.bound_ns, search.best.model_ns, search.seconds)
        return Plan(search.best.schedule, algorithms, workspaces_of(algorithms, problem.trace), bound=bound)


def _instance(problem: Problem, iteration: Iteration) -> Instance:
    from vdnnsim.optimum import instance_of

    return instance_of(iteration, problem.trace, problem.gpu.link, problem.gpu.capacity_bytes, problem.weight_gradients)


def _others(problem: Problem) -> Iterator[Plan]:
    """What the other policies would do: the optimum is no slower."""
    others: tuple[Policy, ...] = (Baseline(Variant.P), VdnnDyn(), VdnnPlusPlus(), VdnnConvRecompute())
    for policy in others:
        yield policy.plan(problem)
