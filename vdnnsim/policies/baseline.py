"""Baseline: everything allocated network-wide, nothing offloaded."""

from __future__ import annotations

from dataclasses import dataclass

from vdnnsim.iteration import Layout
from vdnnsim.policies.plan import Plan, Problem, make_plan
from vdnnsim.policies.variants import Variant


@dataclass(frozen=True)
class Baseline:
    """Frameworks of the paper's time, with memory-optimal (m) or performance-optimal (p) algorithms."""

    variant: Variant

    @property
    def name(self) -> str:
        return self.variant.named("baseline")

    def check(self, problem: Problem) -> None:
        """Algorithms are chosen by the variant, or there is no choice."""
        self.variant.check(self.name, problem)

    def plan(self, problem: Problem) -> Plan:
        return make_plan(problem, Layout.NETWORK_WIDE, (), self.variant.algorithms(problem))
