"""Oracle: a GPU whose memory is never too small, every pass at its fastest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vdnnsim.iteration import Layout
from vdnnsim.policies.plan import Plan, Problem, make_plan


@dataclass(frozen=True)
class Oracle:
    """What every policy's performance is measured against (paper, methodology)."""

    name: str = "oracle"

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        plan = make_plan(problem, Layout.NETWORK_WIDE, (), problem.performance_optimal)
        return replace(plan, endless=True)
