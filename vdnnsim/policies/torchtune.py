"""torchtune's `OffloadActivations`: every saved tensor is copied out, five are under way, none is fetched ahead.

Read in torchtune's `_activation_offloading.py`: (1) each saved tensor that is no parameter, from `min_bytes` on, is
copied on a second stream, behind the kernels so far. (2) Before the n-th is packed, the compute stream waits for the
copy of the one `stash` before it, which is let go then. (3) A tensor that backward asks for is copied back at once, and
the compute stream waits for that. (4) Those still in the stash when backward begins are used in place. (5) Copies both
ways are on one stream; what the head saves, and all behind it, stays.

Deviations: the last `stash` tensors are not copied for nothing; a tensor that two layers save is copied once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.iteration import CopyStreams
from vdnnsim.policies.grammar import Parameter, count, name_of, shown_size, size
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.saves import Saves


@dataclass(frozen=True)
class Torchtune:
    """torchtune (rule read): all that is saved leaves, a stash of tensors is on its way, nothing is fetched ahead."""

    stash: int = 5
    min_bytes: int = 1024

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"stash": Parameter("stash", count), "min_bytes": Parameter("min_bytes", size, shown_size)}
    )

    @property
    def name(self) -> str:
        return name_of("torchtune", self)

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        packed = [one for one in saves.tensors if one.size_bytes >= self.min_bytes and one.out < saves.head]
        waited = packed[self.stash :] if self.stash else packed
        actions = {one.name: saves.leave(one, at.out, one.needed) for one, at in zip(packed, waited, strict=False)}
        return saves.plan(actions, CopyStreams.SHARED)
