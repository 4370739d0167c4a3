"""Capuchin: what may leave without making anybody wait does; for the rest the cheaper of copying and making again.

Peng et al. (ASPLOS 2020); rule recalled: a first iteration is watched. Candidates have a free time, from when the copy
out could be done to when the copy in has to begin; the largest go first, while it is not negative, until enough bytes
are gone. For what is still missing: what would be waited for, against the time of making it again, by bytes over that
time, worked out anew after each choice. A copy in begins its own time, and a twentieth of it, before the need.

Deviations: the watched iteration is rehearsed on operator times and bytes, and the plan is fixed then. Of captured
steps everything is copied: they do not say what a kernel reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.iteration import Action, Remake
from vdnnsim.policies.grammar import Parameter
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.rehearsal import Rehearsal, until_it_fits
from vdnnsim.policies.remaking import last_in_forward, makers_of, remakes_in_turn, wanted_by
from vdnnsim.policies.saves import Saved, Saves

_EARLIER = 1.05


@dataclass(frozen=True)
class Capuchin:
    """Capuchin (rule recalled, rehearsed): what has time to leave does; the rest leaves or is made again."""

    name: str = "capuchin"

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({})

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        return until_it_fits(problem, _plan)


def _plan(saves: Saves, capacity_bytes: int) -> Plan:
    rehearsal = Rehearsal(saves, capacity_bytes)
    free_ns = {one.name: rehearsal.idle_ns(one) - sum(rehearsal.copies_ns(one.size_bytes)) for one in saves.tensors}
    again_ns = _again_ns(saves, rehearsal)
    swapped: list[Saved] = []
    dropped: dict[str, Saved] = {}
    for one in sorted(saves.tensors, key=lambda one: -free_ns[one.name]):
        if not _short(rehearsal, one):
            continue
        remake_ns = again_ns.get(one.name)
        if free_ns[one.name] >= 0 or remake_ns is None or -free_ns[one.name] <= remake_ns:
            swapped.append(one)
        else:
            dropped[one.name] = one
            for child, parents in _parents(saves, again_ns).items():
                if one.name in parents:
                    again_ns[child] += remake_ns
        rehearsal.take_away(one.size_bytes, one.idle, one.needed)
    remakes: dict[str, Remake] = {}
    if not saves.of_step:
        gone = {name: last_in_forward(saves.iteration, name) for name in dropped}
        remakes = remakes_in_turn(saves.iteration, gone, {name: one.needed for name, one in dropped.items()})
    wanted = wanted_by(saves.iteration, remakes)
    actions: dict[str, Action] = {**remakes}
    for one in swapped:
        at = one._replace(needed=min(one.needed, wanted.get(one.name, one.needed)))
        takes_in = rehearsal.copies_ns(one.size_bytes)[1]
        back = rehearsal.stage_at(rehearsal.begins_ns[at.needed] - int(takes_in * _EARLIER))
        if one.name not in actions:
            actions[one.name] = saves.leave(at, one.idle, back)
    return saves.plan(actions)


def _short(rehearsal: Rehearsal, one: Saved) -> bool:
    """Whether memory is short while nobody uses it."""
    return any(rehearsal.over(stage) for stage in range(one.idle + 1, one.needed))


def _again_ns(saves: Saves, rehearsal: Rehearsal) -> dict[str, int]:
    if saves.of_step:
        return {}
    found = {one.name: makers_of(saves.iteration, one.name) for one in saves.tensors}
    return {name: sum(rehearsal.kernel_ns[key] for key in keys) for name, keys in found.items() if keys}


def _parents(saves: Saves, again_ns: Mapping[str, int]) -> dict[str, set[str]]:
    iteration = saves.iteration
    return {
        name: {read for key in makers_of(iteration, name) for read in iteration.again[key].reads} - {name}
        for name in again_ns
    }
