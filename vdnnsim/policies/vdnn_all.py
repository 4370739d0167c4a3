"""vDNN-all: X of every feature-extraction layer leaves."""

from __future__ import annotations

from dataclasses import dataclass

from vdnnsim.iteration import Layout
from vdnnsim.policies.plan import Plan, Problem, feature_extraction_layers, make_plan
from vdnnsim.policies.variants import Variant


@dataclass(frozen=True)
class VdnnAll:
    """Offload as much as possible: least memory, most traffic (paper, the static policies)."""

    variant: Variant

    @property
    def name(self) -> str:
        return f"vdnn-all({self.variant.value})"

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        offload = feature_extraction_layers(problem.network)
        return make_plan(problem, Layout.LAYER_WISE, offload, self.variant.algorithms(problem))
