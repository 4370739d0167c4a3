"""G10: idle intervals that relieve the memory most leave, where there is time for them, for the host or for its SSD.

Zhang et al., *G10* (MICRO 2023); rule read in its artefact, l. 2838 to 3925: of all idle intervals take the one with
the most bytes times time above 0.99 of the memory, ties by bytes times length; it leaves where it is longer than both
copies take. Each kernel has a budget of copying, which copies out use up from the interval's begin on, copies in from
its end back: the latest slots that fit. At last copies in move earlier where memory allows.

With `place=nvme` an interval longer than 1.25 times what the SSD takes both ways is the SSD's, unless its writes have
no budget left until it should be gone: then it is the host's, if that has room. A shorter one is the host's where it is
longer than 1.25 times both copies, and stays where the host is full.

Deviations: by default the host alone, without the factor; saved tensors alone, not weights; what goes to the SSD goes
through the host's memory, so that it is back when it was read and copied in; the host has room for its pinned budget,
of which staging buffers are not taken off; the copies' slots become stages of a fixed plan, rehearsed on operator
times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from vdnnsim.policies.grammar import HOST, NVME, PLACE, Parameter, name_of
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.rehearsal import Rehearsal, until_it_fits
from vdnnsim.policies.saves import Saved, Saves

_LINE = 0.99
_SAFE = 1.25


@dataclass(frozen=True)
class G10:
    """G10 (rule read, rehearsed): idle intervals leave that relieve memory most, in time."""

    place: str = HOST

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({"place": PLACE})

    @property
    def name(self) -> str:
        return name_of("g10", self)

    def check(self, problem: Problem) -> None:
        """NVMe, where that is the place."""
        if self.place == NVME:
            problem.gpu.drive()

    def plan(self, problem: Problem) -> Plan:
        return until_it_fits(problem, lambda saves, capacity_bytes: _plan(saves, capacity_bytes, self.place))


class _Slot(NamedTuple):
    one: Saved
    gone: int
    back: int
    place: str


def _plan(saves: Saves, capacity_bytes: int, place: str) -> Plan:
    rehearsal = Rehearsal(saves, capacity_bytes)
    line = int(capacity_bytes * _LINE)
    host = _Way(rehearsal, rehearsal.copies_ns, HOST)
    ways = _HostAlone(host) if place == HOST else _WithSsd(saves.problem, rehearsal, host)

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
        slot = ways.slot(one)
        if slot is not None:
            slots.append(slot)
            rehearsal.take_away(one.size_bytes, slot.gone, slot.back)
    actions = {}
    for one, gone, latest, _ in sorted(slots, key=lambda slot: slot.back):
        earliest = rehearsal.room_from(one.size_bytes, max(gone, saves.last_forward), latest)
        rehearsal.take_away(-one.size_bytes, earliest - 1, latest)
        actions[one.name] = saves.leave(one, gone, earliest)
    return saves.plan(actions, nvme=frozenset(slot.one.name for slot in slots if slot.place == NVME))


class _Way:
    """A way for tensors, with what its copies out and in may still take of each stage."""

    def __init__(self, rehearsal: Rehearsal, takes_ns: Callable[[int], tuple[int, int]], place: str) -> None:
        self.rehearsal, self.takes_ns, self.place = rehearsal, takes_ns, place
        self.out_ns, self.in_ns = list(rehearsal.stage_ns), list(rehearsal.stage_ns)

    def has_time(self, one: Saved, factor: float = 1) -> bool:
        """Whether it is idle for longer than this many times what it takes out and in."""
        return self.rehearsal.idle_ns(one) > factor * sum(self.takes_ns(one.size_bytes))

    def writes_in_time(self, one: Saved) -> bool:
        """Whether copies out have budget left until it should be gone, had it left at once."""
        takes_out, _ = self.takes_ns(one.size_bytes)
        should = self.rehearsal.stage_at(self.rehearsal.begins_ns[one.idle + 1] + takes_out)
        return _use(self.out_ns, range(one.idle + 1, should + 1), takes_out)[0] is not None

    def slot(self, one: Saved) -> _Slot | None:
        """When it is gone and when it begins to come back, with the budgets used up for it; None where there is no
        time."""
        takes_out, takes_in = self.takes_ns(one.size_bytes)
        gone, outs = _use(self.out_ns, range(one.idle + 1, one.needed), takes_out)
        back, ins = _use(self.in_ns, range(one.needed - 1, one.idle, -1), takes_in)
        if gone is None or back is None or gone + 1 >= back:
            return None
        for stage, used in outs.items():
            self.out_ns[stage] -= used
        for stage, used in ins.items():
            self.in_ns[stage] -= used
        return _Slot(one, gone, back, self.place)


class _HostAlone:
    def __init__(self, host: _Way) -> None:
        self.host = host

    def slot(self, one: Saved) -> _Slot | None:
        """Where it goes, and when; None where it stays."""
        return self.host.slot(one) if self.host.has_time(one) else None


class _WithSsd:
    def __init__(self, problem: Problem, rehearsal: Rehearsal, host: _Way) -> None:
        drive, link = problem.gpu.drive(), problem.gpu.link

        def takes_ns(size_bytes: int) -> tuple[int, int]:
            out_ns = max(link.copy_out.duration_ns(size_bytes), drive.write_ns(size_bytes))
            return out_ns, drive.read_ns(size_bytes) + link.copy_in.duration_ns(size_bytes)

        self.host, self.ssd = host, _Way(rehearsal, takes_ns, NVME)
        self.room_bytes = problem.gpu.host.pinning.budget_bytes

    def slot(self, one: Saved) -> _Slot | None:
        """As above."""
        host_has_room = self.room_bytes is None or one.size_bytes <= self.room_bytes
        if self.ssd.has_time(one, _SAFE):
            if self.ssd.writes_in_time(one) or not host_has_room:
                return self.ssd.slot(one)
        elif not (self.host.has_time(one, _SAFE) and host_has_room):
            return None
        slot = self.host.slot(one)
        if slot is not None and self.room_bytes is not None:
            self.room_bytes -= one.size_bytes
        return slot


def _use(budget_ns: list[int], stages: range, wanted_ns: int) -> tuple[int | None, dict[int, int]]:
    used: dict[int, int] = {}
    for stage in stages:
        used[stage] = min(wanted_ns, budget_ns[stage])
        wanted_ns -= used[stage]
        if not wanted_ns:
            return stage, used
    return None, used
