"""SSDTrain (TBA): the first layers' saved tensors leave, as far as the link keeps up; the rest is kept.

Wu et al., *SSDTrain* (2024); rule read in its `tensor_cache.py`, l. 342 to 406 and 1752: V is what layers save, T how
long their forward takes. It is kept from the first layer n on for which (V(before n) + 2 V(n)) / (3 T(all) - 2 T(before
n)) exceeds the bandwidth. Tensors below 8 M elements stay; layers come back one ahead.

With `place=nvme` they go to the SSD, and the bandwidth is that of its writes, or of the link out where that is less.

Deviations: by default the host stands for the SSD; what goes to one goes through the host's memory; what is still under
way when backward asks is waited for in place of being used where it is; layers are blocks, rehearsed on operator times
as a fixed plan, in which a tensor goes by when its copy should be done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.gpu import GpuProfile
from vdnnsim.policies.blocks import blocks_of
from vdnnsim.policies.grammar import HOST, NVME, PLACE, Parameter, count, name_of
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.rehearsal import Rehearsal
from vdnnsim.policies.saves import Saves
from vdnnsim.policies.vdnn_plus_plus import copies_done

_NS = 10**9


@dataclass(frozen=True)
class SsdTrain:
    """SSDTrain (rule read, rehearsed): layers leave from the first one on, for as long as the link keeps up."""

    min_elements: int = 8 << 20
    place: str = HOST

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType(
        {"min_elements": Parameter("min_elements", count), "place": PLACE}
    )

    @property
    def name(self) -> str:
        return name_of("ssdtrain", self)

    def check(self, problem: Problem) -> None:
        """NVMe, where that is the place."""
        if self.place == NVME:
            problem.gpu.drive()

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        rehearsal = Rehearsal(saves, problem.gpu.capacity_bytes)
        bandwidth, takes_ns = self._way_out(problem.gpu)
        blocks = blocks_of(saves)
        wanted = [[one for one in block.saved if one.elements >= self.min_elements] for block in blocks]
        forward_ns = rehearsal.begins_ns[saves.last_forward + 1]
        before_bytes = 0
        actions = {}
        for number, (block, saved) in enumerate(zip(blocks, wanted, strict=True)):
            own_bytes = sum(one.size_bytes for one in saved)
            left_ns = 3 * forward_ns - 2 * rehearsal.begins_ns[block.first]
            if (before_bytes + 2 * own_bytes) * _NS > bandwidth * left_ns:
                break
            before_bytes += own_bytes
            behind = blocks[min(number + 1, len(blocks) - 1)]
            for one in saved:
                actions[one.name] = saves.leave(one, saves.last_forward, behind.backward)
        done = copies_done(problem, problem.performance_optimal, actions, takes_ns)
        by_name = {one.name: one for one in saves.tensors}
        for name, action in actions.items():
            actions[name] = saves.leave(by_name[name], done.get(name, action.freed), action.back)
        return saves.plan(actions, nvme=frozenset(actions if self.place == NVME else ()))

    def _way_out(self, gpu: GpuProfile) -> tuple[int, Callable[[int], int]]:
        """What copies out reach, and how long one of so many bytes takes: the longer of link and writes."""
        link = gpu.link.copy_out
        if self.place == HOST:
            return link.bandwidth_bytes_per_s, link.duration_ns
        drive = gpu.drive()
        reached = min(link.bandwidth_bytes_per_s, drive.reached_write_bytes_per_s)
        return reached, lambda size_bytes: max(link.duration_ns(size_bytes), drive.write_ns(size_bytes))
