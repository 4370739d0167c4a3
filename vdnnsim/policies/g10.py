"""G10 with the host alone: idle intervals that relieve the memory most leave, where the link has time for them.

Zhang et al., *G10* (MICRO 2023); rule read in its artefact, l. 2838 to 3925: of all idle intervals take the one with
the most bytes times time above 0.99 of the memory, ties by bytes times length; it leaves where it is longer than both
copies take. Each kernel has a budget of copying, which copies out use up from the interval's begin on, copies in from
its end back: the latest slots that fit. At last copies in move earlier where memory allows.

Deviations: no SSD, whose bandwidth and safety factor decide there where a tensor goes; saved tensors alone, not
weights; the copies' slots become stages of a fixed plan, rehearsed on operator times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from vdnnsim.policies.grammar import Parameter
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.rehearsal import Rehearsal, until_it_fits
from vdnnsim.policies.saves import Saved, Saves

_LINE = 0.99


@dataclass(frozen=True)
class G10:
    """G10, host only (rule read, rehearsed): idle intervals leave that relieve memory most, in time."""

    name: str = "g10"

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({})

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        return until_it_fits(problem, _plan)


class _Slot(NamedTuple):
    one: Saved
    gone: int
    back: int


def _plan(saves: Saves, capacity_bytes: int) -> Plan:
    rehearsal = Rehearsal(saves, capacity_bytes)
    line = int(capacity_bytes * _LINE)
    out_ns, in_ns = list(rehearsal.stage_ns), list(rehearsal.stage_ns)

    def urgency(one: Saved) -> tuple[int, int]:
        relieved = sum(
            min(one.size_bytes, rehearsal.usage[stage] - line) * rehearsal.stage_ns[stage]
            for stage in range(one.idle + 1, one.needed)
            if rehearsal.usage[stage] > line
        )
        return -relieved, -one.size_bytes * rehearsal.idle_ns(one)

    # What an interval relieves only shrinks, so that the first in the heap is looked at anew before it is taken.
    heap = [(*urgency(one), number) for number, one in enumerate(saves.tensors)]
    heapify(heap)
    slots: list[_Slot] = []
    while heap and heap[0][0]:
        one = saves.tensors[heap[0][2]]
        now = (*urgency(one), heap[0][2])
        if now != heap[0]:
            heapreplace(heap, now)
            continue
        heappop(heap)
        slot = _slot(rehearsal, one, out_ns, in_ns)
        if slot is not None:
            slots.append(slot)
            rehearsal.take_away(one.size_bytes, slot.gone, slot.back)
    actions = {}
    for one, gone, latest in sorted(slots, key=lambda slot: slot.back):
        earliest = rehearsal.room_from(one.size_bytes, max(gone, saves.last_forward), latest)
        rehearsal.take_away(-one.size_bytes, earliest - 1, latest)
        actions[one.name] = saves.leave(one, gone, earliest)
    return saves.plan(actions)


def _slot(rehearsal: Rehearsal, one: Saved, out_ns: list[int], in_ns: list[int]) -> _Slot | None:
    """When it is gone and when it begins to come back, with the budgets used up for it; None where there is no time."""
    takes_out, takes_in = rehearsal.copies_ns(one.size_bytes)
    if rehearsal.idle_ns(one) <= takes_out + takes_in:
        return None
    gone, outs = _use(out_ns, range(one.idle + 1, one.needed), takes_out)
    back, ins = _use(in_ns, range(one.needed - 1, one.idle, -1), takes_in)
    if gone is None or back is None or gone + 1 >= back:
        return None
    for stage, used in outs.items():
        out_ns[stage] -= used
    for stage, used in ins.items():
        in_ns[stage] -= used
    return _Slot(one, gone, back)


def _use(budget_ns: list[int], stages: range, wanted_ns: int) -> tuple[int | None, dict[int, int]]:
    used: dict[int, int] = {}
    for stage in stages:
        used[stage] = min(wanted_ns, budget_ns[stage])
        wanted_ns -= used[stage]
        if not wanted_ns:
            return stage, used
    return None, used
