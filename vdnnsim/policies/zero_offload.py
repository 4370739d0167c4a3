"""ZeRO-Offload: gradients go to the host as backward makes them, its optimiser updates parameters, which come back.

Ren et al., *ZeRO-Offload* (USENIX ATC 2021); rule recalled: the optimiser's state is the host's alone, gradients are
copied out during backward, Adam runs on the host's cores behind it, and parameters are copied in as they are updated.
How fast the host is says `[host.optimiser]` of a profile: DeepSpeed's own Adam took 8.2 s for 11.6 billion parameters,
1.41 billion a second (DeepSpeed, pull request 735, February 2021; the machine is not named).

Deviations: parameters have the type that they have in the capture, without a half of theirs on the GPU and a whole one
on the host; each gradient is a copy by itself, with `in_flight` bytes of them on their way, in place of buckets; the
update is not delayed by a step; one GPU, nothing is partitioned; the host's cores do nothing else meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.captured.optimiser import Optimised
from vdnnsim.captured.schedules import schedule_of
from vdnnsim.errors import InvalidInput
from vdnnsim.policies.grammar import Parameter, name_of, shown_size, size
from vdnnsim.policies.plan import Plan, Problem, workspaces_of


@dataclass(frozen=True)
class ZeroOffload:
    """ZeRO-Offload (rule recalled; captured steps): gradients leave in backward, the host runs the optimiser."""

    in_flight_bytes: int = 200 << 20

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"in_flight": Parameter("in_flight_bytes", size, shown_size)}
    )

    @property
    def name(self) -> str:
        return name_of("zero-offload", self)

    def check(self, problem: Problem) -> None:
        """A captured step with an optimiser, and a host whose speed is known."""
        optimised = Optimised(problem.step)
        if not optimised.kernels or not optimised.updated:
            raise InvalidInput(
                f"policy '{self.name}': found no optimiser in {problem.workload.name}, expected a captured step that "
                "has its kernels and gradients"
            )
        problem.gpu.host.update_ns(0)

    def plan(self, problem: Problem) -> Plan:
        schedule = replace(schedule_of(problem.step, {}), host_optimiser=self.in_flight_bytes)
        algorithms = problem.performance_optimal
        return Plan(schedule, algorithms, workspaces_of(algorithms, problem.trace))
