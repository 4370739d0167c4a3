"""Dynamic Tensor Rematerialization: what is cheap, large and stale goes when memory is short, and is made again.

Kirisame et al. (ICLR 2021); rule read in simrd's `heuristic/dtr.py`: on shortage the tensor goes whose h is least, its
own cost c0 and those of the neighbours that are gone, over bytes and staleness; `local` counts its own cost alone,
`lru` staleness, `size` bytes.

Deviations: rehearsed on operator times and bytes, layer by layer, and a fixed plan then; a tensor is made again once,
for its first need in backward or what is made of it before; neighbours are those it is made of and what is made of it.
For networks: which kernel reads what is not captured of steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.policies.grammar import Parameter, choice, name_of
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.rehearsal import Rehearsal, until_it_fits
from vdnnsim.policies.remaking import makers_of, remakes_in_turn
from vdnnsim.policies.saves import Saved, Saves

_HEURISTICS = ("dtr", "local", "lru", "size")


@dataclass(frozen=True)
class Dtr:
    """DTR (rule read, rehearsed): on shortage what is cheap, large and stale goes, to be made again."""

    heuristic: str = "dtr"

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"heuristic": Parameter("heuristic", choice(*_HEURISTICS))}
    )

    @property
    def name(self) -> str:
        return name_of("dtr", self)

    def check(self, problem: Problem) -> None:
        """A network: its layers say what makes a map again."""
        _ = problem.network

    def plan(self, problem: Problem) -> Plan:
        return until_it_fits(
            problem, lambda saves, capacity_bytes: Evictions(saves, capacity_bytes, self.heuristic).plan()
        )


class Evictions:
    """What goes, in which stage, as the rehearsal comes to be short of memory."""

    def __init__(self, saves: Saves, capacity_bytes: int, heuristic: str) -> None:
        self.saves, self.heuristic = saves, heuristic
        self.rehearsal = rehearsal = Rehearsal(saves, capacity_bytes)
        self.iteration = saves.iteration
        self.candidates = [one for one in saves.tensors if makers_of(self.iteration, one.name)]
        self.cost_ns = {
            one.name: sum(rehearsal.kernel_ns[key] for key in makers_of(self.iteration, one.name))
            for one in self.candidates
        }
        self.near: dict[str, set[str]] = {one.name: set() for one in self.candidates}
        for name, near in self.near.items():
            for key in makers_of(self.iteration, name):
                for read in self.iteration.again[key].reads:
                    if read in self.near and read != name:
                        near.add(read)
                        self.near[read].add(name)
        self.gone: dict[str, int] = {}

    def plan(self) -> Plan:
        needed = {one.name: one.needed for one in self.candidates}
        for stage in range(len(self.rehearsal.usage)):
            while self.rehearsal.over(stage):
                usable = [one for one in self.candidates if one.idle < stage < one.needed and one.name not in self.gone]
                if not usable:
                    break
                victim = min(usable, key=lambda one: (self._score(one, stage), one.out))
                self.gone[victim.name] = stage - 1
                self.rehearsal.take_away(victim.size_bytes, stage - 1, victim.needed)
        return self.saves.plan(remakes_in_turn(self.iteration, self.gone, needed))

    def _score(self, one: Saved, stage: int) -> float:
        stale = self.rehearsal.begins_ns[stage] - self.rehearsal.begins_ns[one.idle]
        if self.heuristic == "size":
            return 1 / one.size_bytes
        if self.heuristic == "lru":
            return 1 / max(stale, 1)
        cost = self.cost_ns[one.name]
        if self.heuristic == "dtr":
            cost += sum(self.cost_ns[name] for name in self._neighbourhood(one.name))
        return cost / (one.size_bytes * max(stale, 1))

    def _neighbourhood(self, name: str) -> set[str]:
        """What is gone around it, as far as nothing lies between that is there."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for other in self.near[waiting.pop()]:
                if other in self.gone and other not in found:
                    found.add(other)
                    waiting.append(other)
        return found
