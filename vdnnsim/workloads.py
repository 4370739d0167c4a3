"""What is trained, for studies: a network of layers. Each kind of workload says how its plans become programs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Iteration, Key, Layout, Schedule, WeightGradients
from vdnnsim.machines.fitting import Candidate
from vdnnsim.network import Kind, Layer, Network, iteration_of, network_sha256
from vdnnsim.policies import Plan
from vdnnsim.policies.plan import feature_extraction_layers, kernels_of
from vdnnsim.policies.schedules import write_schedule
from vdnnsim.policies.workload import Workload
from vdnnsim.trace import Trace, check_trace

if TYPE_CHECKING:
    from vdnnsim.captured.step import CapturedStep


class Runnable(Workload, Protocol):
    """A workload whose plans can be run."""

    def candidate(self, trace: Trace, plan: Plan) -> Candidate:
        """The plan with its program, as `fit_plan` takes it. Raises `BrokenSchedule`."""

    def check_trace(self, trace: Trace) -> None:
        """Raise `InvalidInput` for a trace of something else."""


@dataclass(frozen=True)
class NetworkWorkload:
    """A network of layers."""

    network: Network

    one_way = False

    @property
    def name(self) -> str:
        return self.network.name

    @property
    def batch(self) -> int:
        return self.network.batch

    @cached_property
    def sha256(self) -> str:
        return network_sha256(self.network)

    @property
    def layers(self) -> Sequence[Layer]:
        return self.network.layers

    @property
    def step(self) -> CapturedStep:
        raise InvalidInput(f"policy: found {self.name}, a network of layers; expected a captured step")

    def kernels(self, trace: Trace) -> list[Key]:
        return list(kernels_of(self.network, trace))

    def iteration(self, trace: Trace) -> Iteration:
        return iteration_of(self.network, frozenset(self.kernels(trace)))

    def in_classifier(self, layer: str) -> bool:
        return self.network.in_classifier(layer)

    def movable(self, kinds: Collection[str] | None = None) -> frozenset[str]:
        wanted = tuple(Kind) if kinds is None else tuple(kind for kind in Kind if kind in kinds)
        return feature_extraction_layers(self.network, wanted)

    def unknown(self, names: Collection[str]) -> list[str]:
        return sorted(set(names) - self.network.by_name.keys())

    def schedule(
        self, trace: Trace, layout: Layout, offload: Collection[str], weight_gradients: WeightGradients
    ) -> Schedule:
        return write_schedule(self.iteration(trace), layout, offload, weight_gradients)

    def candidate(self, trace: Trace, plan: Plan) -> Candidate:
        return Candidate(self.iteration(trace), plan)

    def check_trace(self, trace: Trace) -> None:
        check_trace(trace, self.network)


def workload_of(trained: Network | Runnable) -> Runnable:
    """What is trained, as studies take it; a workload is one already."""
    return NetworkWorkload(trained) if isinstance(trained, Network) else trained
