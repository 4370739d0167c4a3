"""(m) and (p): the two static choices of CONV algorithms in the paper; and neither, where there is no choice."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import Any

from vdnnsim.errors import InvalidInput
from vdnnsim.policies.plan import Algorithms, Policy, Problem


class Variant(Enum):
    """M takes no workspace (implicit GEMM), P the fastest algorithm whatever its workspace; ONLY what there is, where
    every kernel has one algorithm."""

    M = "m"
    P = "p"
    ONLY = ""

    def algorithms(self, problem: Problem) -> Algorithms:
        return problem.memory_optimal if self is Variant.M else problem.performance_optimal

    def named(self, name: str) -> str:
        """The policy's name with its variant."""
        return f"{name}({self.value})" if self.value else name

    def check(self, name: str, problem: Problem) -> None:
        """Raise `InvalidInput` where algorithms have to be chosen and the policy of this name does not say how."""
        if self is Variant.ONLY and not problem.workload.one_way:
            raise InvalidInput(
                f"policy: found '{name}', expected {name}(m) or {name}(p): kernels of {problem.workload.name} have "
                "several algorithms"
            )


def without_variant(policy: Policy) -> Policy:
    """The policy as it is where every kernel has one algorithm: (m) and (p) are one."""
    own: Any = policy
    return replace(own, variant=Variant.ONLY) if isinstance(getattr(policy, "variant", None), Variant) else policy
