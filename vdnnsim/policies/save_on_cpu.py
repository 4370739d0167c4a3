"""torch's `torch.autograd.graph.save_on_cpu(pin_memory=True)`: every saved tensor, copied while the GPU waits.

Read in PyTorch's documentation and source: the pack hook copies each saved tensor to pinned memory on the current
stream, and blocks; the unpack hook copies it back there, when backward asks.

Deviations: parameters, which it copies as well, stay; the host, which it blocks in forward, goes on, and the compute
stream stands still alone; a tensor that two layers save is copied once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.iteration import CopyStreams
from vdnnsim.policies.grammar import Parameter
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.saves import Saves


@dataclass(frozen=True)
class SaveOnCpu:
    """torch's save_on_cpu (rule read): all that is saved leaves and comes back on the compute stream, in line."""

    name: str = "save-on-cpu"

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({})

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        actions = {one.name: saves.leave(one, one.out, one.needed) for one in saves.tensors}
        return saves.plan(actions, CopyStreams.COMPUTE)
