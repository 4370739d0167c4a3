"""What happened, and when: the records that every machine returns and every number is made from.

Times are integer nanoseconds from the start of the iteration. `step` is the index of the program's step; -1 is
the set-up before the iteration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SETUP = -1
COPY_OUT = "copy out"
COPY_IN = "copy in"
NVME_WRITE = "nvme write"
NVME_READ = "nvme read"


class KernelRecord(NamedTuple):
    """One pass of a layer on the compute engine, `again` where it makes once more what was dropped."""

    step: int
    layer: str
    pass_: str
    algorithm: str
    begin_ns: int
    end_ns: int
    again: bool = False


class CopyRecord(NamedTuple):
    """One copy, or NVMe's write or read, on the engine of its direction; `alone_ns` is what it takes when nothing slows
    it."""

    step: int
    direction: str
    buffer: str
    size_bytes: int
    begin_ns: int
    end_ns: int
    alone_ns: int


class WaitRecord(NamedTuple):
    """The host waiting for streams, or for one piece of work, with the cost of the call, when it had given so many
    `kernels`."""

    step: int
    begin_ns: int
    end_ns: int
    kernels: int


class StallRecord(NamedTuple):
    """The compute engine idle because its next kernel, or the end of the iteration, waits for a copy: from when every
    kernel given before is done and somebody waits (the host, or a kernel by its stream), until the copy ends. Of
    several the copy is the one that ends last, in before out. `late` is a copy in that began only when its layer needed
    it, or had been put off."""

    step: int
    begin_ns: int
    end_ns: int
    direction: str
    buffer: str
    late: bool

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.begin_ns


class MemoryRecord(NamedTuple):
    """A buffer taken from the pool (`taken`) or given back. `size_bytes` is as asked for, before rounding."""

    step: int
    time_ns: int
    taken: bool
    buffer: str
    memory_class: str
    in_classifier: bool
    address: int
    size_bytes: int


@dataclass(frozen=True)
class Timeline:
    """One iteration as it ran. `pool_high_water_bytes` and `largest_hole_bytes` are the pool's own, the hole being the
    largest request that would have succeeded when most bytes were in use. `nvme` are NVMe's writes and reads."""

    kernels: tuple[KernelRecord, ...]
    copies: tuple[CopyRecord, ...]
    waits: tuple[WaitRecord, ...]
    stalls: tuple[StallRecord, ...]
    memory: tuple[MemoryRecord, ...]
    step_ends_ns: tuple[int, ...]
    iteration_time_ns: int
    pool_high_water_bytes: int
    largest_hole_bytes: int
    nvme: tuple[CopyRecord, ...] = ()

    def __repr__(self) -> str:
        return f"<Timeline of {self.iteration_time_ns} ns: {len(self.kernels)} kernels, {len(self.copies)} copies>"
