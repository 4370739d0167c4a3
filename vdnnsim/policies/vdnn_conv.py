"""vDNN-conv: only X of CONV layers leaves; in a captured step what CONV, GEMM and attention read."""

from __future__ import annotations

from dataclasses import dataclass

from vdnnsim.iteration import Layout
from vdnnsim.policies.plan import Plan, Problem, make_plan
from vdnnsim.policies.variants import Variant
from vdnnsim.policies.workload import LONG_KERNELS


@dataclass(frozen=True)
class VdnnConv:
    """Offload where the kernel is long enough to hide the copy (paper, the static policies)."""

    variant: Variant

    @property
    def name(self) -> str:
        return self.variant.named("vdnn-conv")

    def check(self, problem: Problem) -> None:
        """Algorithms are chosen by the variant, or there is no choice."""
        self.variant.check(self.name, problem)

    def plan(self, problem: Problem) -> Plan:
        offload = problem.workload.movable(LONG_KERNELS)
        return make_plan(problem, Layout.LAYER_WISE, offload, self.variant.algorithms(problem))
