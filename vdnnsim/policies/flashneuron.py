"""FlashNeuron, as the artefact of G10 has it: tensors leave in the order of their first use, until the rest fits.

Bae et al., *FlashNeuron* (FAST 2021); rule read in G10's `analysis.cc`, l. 2695 to 2820: the budget is the GPU's memory
less the weights and the largest working set of a kernel. Candidates are what forward makes and backward uses, in the
order of first use; they leave one after the other until the rest is within the budget. Each is copied out behind its
last use in forward and comes back, in the order of need, as soon as there is room.

Deviations: the host stands for the SSD; its second phase, which prefers what compresses well, is left out; "as soon as
there is room" is rehearsed on operator times and bytes, and becomes a fixed plan. Of a captured step the largest
working set is all that is in use beside candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.iteration import MemoryClass
from vdnnsim.policies.grammar import Parameter
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.rehearsal import Rehearsal, until_it_fits
from vdnnsim.policies.saves import Saves


@dataclass(frozen=True)
class FlashNeuron:
    """FlashNeuron (rule read, rehearsed): tensors leave in the order of first use until the rest fits."""

    name: str = "flashneuron"

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({})

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        return until_it_fits(problem, _plan)


def _plan(saves: Saves, capacity_bytes: int) -> Plan:
    rehearsal = Rehearsal(saves, capacity_bytes)
    budget = capacity_bytes - _beside(saves, rehearsal)
    rest = sum(one.size_bytes for one in saves.tensors)
    leaving = []
    for one in saves.tensors:
        if rest < budget:
            break
        leaving.append(one)
        rest -= one.size_bytes
        rehearsal.take_away(one.size_bytes, one.idle, one.needed)
    actions = {}
    for one in sorted(leaving, key=lambda one: one.needed):
        back = rehearsal.room_from(one.size_bytes, max(one.idle, saves.last_forward), one.needed)
        rehearsal.take_away(-one.size_bytes, back - 1, one.needed)
        actions[one.name] = saves.leave(one, one.idle, back)
    return saves.plan(actions)


def _beside(saves: Saves, rehearsal: Rehearsal) -> int:
    """Weights and the largest working set."""
    if saves.of_step:
        alive = [0] * (len(rehearsal.usage) + 1)
        for one in saves.tensors:
            for stage in range(one.out, one.needed + 1):
                alive[stage] += one.size_bytes
        return max(used - held for used, held in zip(rehearsal.usage, alive, strict=False))
    buffers, workspaces = saves.iteration.buffers, saves.plan({}).workspaces
    weights = {name for name, buffer in buffers.items() if buffer.memory_class is MemoryClass.WEIGHTS}
    largest = max(
        sum(buffers[name].size_bytes for name in {*operator.reads, *operator.writes} - weights)
        + workspaces.get(operator.key, 0)
        for operator in saves.iteration.operators
    )
    return largest + sum(buffers[name].size_bytes for name in weights)
