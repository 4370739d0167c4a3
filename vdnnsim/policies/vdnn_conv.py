"""vDNN-conv: only X of CONV layers leaves."""

from __future__ import annotations

from dataclasses import dataclass

from vdnnsim.iteration import Layout
from vdnnsim.network import Kind
from vdnnsim.policies.plan import Plan, Problem, feature_extraction_layers, make_plan
from vdnnsim.policies.variants import Variant


@dataclass(frozen=True)
class VdnnConv:
    """Offload where the kernel is long enough to hide the copy (paper, the static policies)."""

    variant: Variant

    @property
    def name(self) -> str:
        return f"vdnn-conv({self.variant.value})"

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        offload = feature_extraction_layers(problem.network, (Kind.CONV,))
        return make_plan(problem, Layout.LAYER_WISE, offload, self.variant.algorithms(problem))
