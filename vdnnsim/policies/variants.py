"""(m) and (p): the two static choices of CONV algorithms in the paper."""

from __future__ import annotations

from enum import Enum

from vdnnsim.policies.plan import Algorithms, Problem, memory_optimal, performance_optimal


class Variant(Enum):
    """M takes no workspace (implicit GEMM), P the fastest algorithm whatever its workspace."""

    M = "m"
    P = "p"

    def algorithms(self, problem: Problem) -> Algorithms:
        choose = memory_optimal if self is Variant.M else performance_optimal
        return choose(problem.network, problem.trace)
