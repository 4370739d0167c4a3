"""Megatron-LM's fine-grained activation offloading: groups of what modules of repeated blocks save.

Read in its `fine_grained_activation_offload.py`: (1) a group is what one module of a block saves; groups of one place
in their blocks have one name. (2) Tensors from 1,048,576 elements on are copied out when the module is done, on a
stream of their own, and go when that copy is. (3) The last `margin` groups stay, by default one of each name; of the
rest the first `fraction` leaves, in the order of forward. (4) Where the backward of a group begins, the next one that
has left begins to come back: one ahead.

Deviations: a group goes at the end of the layer by which its copy should be done, going by the trace's kernels and the
link, in place of `record_stream`'s clock; modules of a CNN are its layers; nothing is kept for pipelines, and copies
under way are not bounded by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.iteration import Leave
from vdnnsim.policies.blocks import repeated_blocks
from vdnnsim.policies.grammar import Parameter, count_or_none, name_of, share, shown_count
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.saves import Saved, Saves
from vdnnsim.policies.vdnn_plus_plus import copies_done

FEWEST_ELEMENTS = 1 << 20


@dataclass(frozen=True)
class Megatron:
    """Megatron-LM's fine-grained offloading (rule read): groups leave as modules end, and come back one group ahead."""

    fraction: float = 1.0
    margin: int | None = None

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "fraction": Parameter("fraction", share),
            "margin": Parameter("margin", count_or_none, shown_count),
        }
    )

    @property
    def name(self) -> str:
        return name_of("megatron", self)

    def check(self, problem: Problem) -> None:
        """Raise `InvalidInput` where the model repeats no blocks."""
        repeated_blocks(self.name, problem, Saves(problem))

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        groups: list[list[Saved]] = []
        most = 0
        for block in repeated_blocks(self.name, problem, saves):
            of_block: dict[str, list[Saved]] = {}
            for one in block.saved:
                of_block.setdefault(one.layer, []).append(one)
            groups += of_block.values()
            most = max(most, len(of_block))
        kept = most if self.margin is None else self.margin
        offloadable = groups[: max(0, len(groups) - kept)]
        leaving = offloadable[: round(self.fraction * len(offloadable))]
        actions: dict[str, Leave] = {}
        for number, group in enumerate(leaving):
            after = groups[number + 1 : number + 2]
            back = min(one.needed for one in after[0]) if after else 0
            for one in group:
                if one.elements >= FEWEST_ELEMENTS:
                    actions[one.name] = saves.leave(one, saves.last_forward, back)
        done = copies_done(problem, problem.performance_optimal, actions)
        by_name = {one.name: one for one in saves.tensors}
        for name, action in actions.items():
            actions[name] = saves.leave(by_name[name], done.get(name, action.freed), action.back)
        return saves.plan(actions)
