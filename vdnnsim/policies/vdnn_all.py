"""vDNN-all: X of every feature-extraction layer leaves."""

from __future__ import annotations

from dataclasses import dataclass

from vdnnsim.iteration import Layout
from vdnnsim.policies.plan import Plan, Problem, make_plan
from vdnnsim.policies.variants import Variant


@dataclass(frozen=True)
class VdnnAll:
    """Offload as much as possible: least memory, most traffic (paper, the static policies)."""

    variant: Variant

    @property
    def name(self) -> str:
        return self.variant.named("vdnn-all")

    def check(self, problem: Problem) -> None:
        """Algorithms are chosen by the variant, or there is no choice."""
        self.variant.check(self.name, problem)

    def plan(self, problem: Problem) -> Plan:
        return make_plan(problem, Layout.LAYER_WISE, problem.workload.movable(), self.variant.algorithms(problem))
