"""Demand paging (CUDA's unified memory): what is used longest ago goes when memory is full, and comes back by faults.

Rule read in NVIDIA's driver (open-gpu-kernel-modules, nvidia-uvm) as others quote it: memory is managed in blocks of
2 MiB (`uvm_va_block.h`), least recently used first to go (`uvm_pmm_gpu.c`), each fault brings a page of 64 KiB, and a
block's tree of pages has every part filled up of which more than 51 % are there (`uvm_perf_prefetch.c`). A kernel that
runs through a block faults 6 times, so: with the 1st, 2nd, 3rd, 5th, 9th and 17th page all up to the next power of two
comes. A fault is handled in 45 us (G10's artefact, `system_latency_us` of `src/configs/example.config`; others give 20
to 50 us, recalled), and what it brings goes over the link. Behind PCIe gen3 that is 4.8 GB/s; NVIDIA has shown 5.4 for
kernels that stream (P100, 2017; recalled).

Kernels stand while their pages come, and while others make room for them: both are on the compute stream, nothing comes
ahead.

Deviations: whole tensors go, of those that forward saves, and once; the others, weights among them, stay; the driver's
order is that in which blocks came, not that of their use; what is written first takes room without a fault, as in a
pool that had it before; rehearsed on operator times and bytes, and a fixed plan then. Pascal is the first GPU that can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.iteration import CopyStreams, Leave, Paging
from vdnnsim.policies.grammar import Parameter, count, name_of
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.rehearsal import Rehearsal, until_it_fits
from vdnnsim.policies.saves import Saved, Saves
from vdnnsim.units import parse_duration

_FAULTS = 6
_HANDLING_NS = 45_000


def _shown_duration(duration_ns: int) -> str:
    return f"{duration_ns}ns" if duration_ns % 1000 else f"{duration_ns // 1000}us"


@dataclass(frozen=True)
class Uvm:
    """Demand paging (rule read, rates derived, rehearsed): the least recently used goes, and comes back by faults."""

    faults: int = _FAULTS
    handling_ns: int = _HANDLING_NS

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {
            "faults": Parameter("faults", count),
            "handling": Parameter("handling_ns", parse_duration, _shown_duration),
        }
    )

    @property
    def name(self) -> str:
        return name_of("uvm", self)

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        own = (self.faults, self.handling_ns) == (_FAULTS, _HANDLING_NS)
        source = "derived from NVIDIA's driver and G10's 45 us" if own else "given"
        label = f"{self.faults} faults of {_shown_duration(self.handling_ns)} for each 2 MiB, {source}"
        paging = Paging(self.faults, self.handling_ns, label)

        def paged(saves: Saves, capacity_bytes: int) -> Plan:
            plan = saves.plan(_evictions(saves, capacity_bytes), CopyStreams.COMPUTE)
            return replace(plan, schedule=replace(plan.schedule, paging=paging))

        return until_it_fits(problem, paged)


def _evictions(saves: Saves, capacity_bytes: int) -> dict[str, Leave]:
    """What goes as the rehearsal comes to be short of memory: of what is idle then the least recently used."""
    rehearsal = Rehearsal(saves, capacity_bytes)
    there = sorted(saves.tensors, key=lambda one: (one.idle, one.out))
    gone: dict[str, Leave] = {}
    for stage in range(len(rehearsal.usage)):
        while rehearsal.over(stage):
            victim = next((one for one in there if one.idle < stage < one.needed), None)
            if victim is None:
                break
            there.remove(victim)
            gone[victim.name] = _leave(saves, victim, stage - 1)
            rehearsal.take_away(victim.size_bytes, stage - 1, victim.needed)
    return gone


def _leave(saves: Saves, one: Saved, gone: int) -> Leave:
    """It goes behind the stage `gone`; of a captured step what goes is copied out where it is saved."""
    leave = saves.leave(one, gone, one.needed)
    return leave if saves.of_step else leave._replace(out=gone)
