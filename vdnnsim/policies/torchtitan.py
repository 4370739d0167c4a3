"""torchtitan's CPU offloading as a pass over the graph: the largest tensors leave, in so much host memory.

Read in its `cpu_offload.py`: tensors that are saved and not made again, from 4096 bytes on, less those of the last
layer; the largest first, until they come to the budget. Each is copied right behind what makes it; it goes one layer
behind that of its last use in forward, and begins to come back one layer before it is needed.

Deviation: layers are the model's blocks, a CNN's without forks a CONV or FC with what follows it; one stream each way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.policies.blocks import blocks_of
from vdnnsim.policies.grammar import Parameter, name_of, shown_size, size
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.saves import Saves


@dataclass(frozen=True)
class Torchtitan:
    """torchtitan's graph pass (rule read): the largest tensors leave, and come back one layer ahead."""

    budget_bytes: int = 100 << 30
    min_bytes: int = 4096

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "budget": Parameter("budget_bytes", size, shown_size),
            "min_bytes": Parameter("min_bytes", size, shown_size),
        }
    )

    @property
    def name(self) -> str:
        return name_of("torchtitan", self)

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        blocks = blocks_of(saves)
        left = self.budget_bytes
        chosen = set()
        candidates = [one for block in blocks[:-1] for one in block.saved if one.size_bytes >= self.min_bytes]
        for one in sorted(candidates, key=lambda one: -one.size_bytes):
            if one.size_bytes <= left:
                left -= one.size_bytes
                chosen.add(one.name)
        actions = {}
        for block in blocks[:-1]:
            for one in block.saved:
                if one.name in chosen:
                    last = next((n for n, other in enumerate(blocks) if one.idle <= other.last), len(blocks) - 1)
                    behind = blocks[min(last + 1, len(blocks) - 1)]
                    user = next((n for n, other in enumerate(blocks) if other.backward <= one.needed), 0)
                    before = blocks[min(user + 1, len(blocks) - 1)]
                    actions[one.name] = saves.leave(one, behind.last, before.backward)
        return saves.plan(actions)
