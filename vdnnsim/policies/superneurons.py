"""SuperNeurons: cheap layers' maps are made again, those of dear ones leave when memory is short, the oldest first.

Wang et al. (PPoPP 2018); rule read in its `recompute.cpp` and `mem_control.h`, l. 43 to 47: checkpoints are CONV, FC
and what joins or forks. What lies between two of them is dropped and made again, once for the whole segment (speed-
centric) where that takes no more memory than the largest working set of a layer's backward, else each map for its own
layer (memory-centric). Recalled: outputs of checkpoints stay in a cache on the GPU; where an allocation fails the
oldest one leaves for the host, and it comes back while the checkpoint behind it runs in backward.

Deviations: the cache is rehearsed on bytes, layer by layer, and a fixed plan then; a map that is made again stays until
its last use, in both ways. For networks: captured steps do not say what a kernel reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.iteration import Action
from vdnnsim.policies.grammar import Parameter
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.rehearsal import Rehearsal, until_it_fits
from vdnnsim.policies.remaking import last_in_forward, makers_of, remakes_in_turn, wanted_by
from vdnnsim.policies.saves import Saves

_CHEAP = frozenset({"ACTV", "BN", "LRN", "POOL", "DROPOUT"})


@dataclass(frozen=True)
class SuperNeurons:
    """SuperNeurons (rule read, its cache recalled, rehearsed): cheap maps are made again, others leave when short."""

    name: str = "superneurons"

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({})

    def check(self, problem: Problem) -> None:
        """A network: its layers say which are cheap."""
        _ = problem.network

    def plan(self, problem: Problem) -> Plan:
        return until_it_fits(problem, _plan)


def _plan(saves: Saves, capacity_bytes: int) -> Plan:
    iteration = saves.iteration
    rehearsal = Rehearsal(saves, capacity_bytes)
    stages, by_key = iteration.stages, iteration.by_key
    cheap = [
        one
        for one in saves.tensors
        if makers_of(iteration, one.name)
        and all(stages[by_key[key].stage].kind in _CHEAP for key in iteration.makers[one.name])
    ]
    largest = max(
        sum(iteration.buffers[name].size_bytes for name in {*operator.reads, *operator.writes})
        for operator in iteration.operators
        if stages[operator.stage].backward
    )
    fences = [number for number, stage in enumerate(stages) if not stage.backward and stage.kind not in _CHEAP]
    segments: dict[int, list[int]] = {}
    for place, one in enumerate(cheap):
        made = by_key[iteration.makers[one.name][0]].stage
        segments.setdefault(max((fence for fence in fences if fence < made), default=-1), []).append(place)
    needed = {one.name: one.needed for one in cheap}
    for places in segments.values():
        segment = [cheap[place] for place in places]
        if sum(one.size_bytes for one in segment) <= largest:
            needed |= dict.fromkeys((one.name for one in segment), min(one.needed for one in segment))
    dropped = {one.name: last_in_forward(iteration, one.name) for one in cheap}
    remakes = remakes_in_turn(iteration, dropped, needed)
    actions: dict[str, Action] = {**remakes}
    for name, remake in remakes.items():
        gone, again = remake.dropped, min(remake.again, iteration.last_stage[name])
        rehearsal.take_away(iteration.buffers[name].size_bytes, gone, again)
    wanted = wanted_by(iteration, remakes)
    cached = [
        one._replace(needed=min(one.needed, wanted.get(one.name, one.needed)))
        for one in saves.tensors
        if one.name not in actions
    ]
    for stage in range(len(rehearsal.usage)):
        for place, one in enumerate(cached):
            if not rehearsal.over(stage):
                break
            if one.name in actions or not one.idle < stage < one.needed:
                continue
            back = max((other.needed for other in cached[place + 1 :] if other.needed < one.needed), default=one.needed)
            actions[one.name] = action = saves.leave(one, stage - 1, max(back, stage + 1))
            rehearsal.take_away(one.size_bytes, action.freed, action.back)
    return saves.plan(actions)
