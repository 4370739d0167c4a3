"""What both machines must agree on exactly: bytes in use, bytes offloaded, every address."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from vdnnsim.metrics import memory_use
from vdnnsim.program import MemoryClass
from vdnnsim.timeline import COPY_OUT, MemoryRecord, Timeline

_CLASSES = tuple(memory_class.value for memory_class in MemoryClass)


def peak_bytes(timeline: Timeline) -> int:
    """The most bytes in use, as asked for."""
    steps = len(timeline.step_ends_ns)
    return memory_use(timeline.memory, steps, timeline.iteration_time_ns, _CLASSES).peak_bytes


def offloaded_bytes(timeline: Timeline) -> int:
    """The bytes of all copies out."""
    return sum(copy.size_bytes for copy in timeline.copies if copy.direction == COPY_OUT)


def placements(records: Iterable[MemoryRecord]) -> list[tuple[object, ...]]:
    """Every allocation and free in order, with its address and size, without its time."""
    return [(one.step, one.taken, one.buffer, one.address, one.size_bytes) for one in records]


def placements_digest(records: Iterable[MemoryRecord]) -> str:
    """A SHA-256 over `placements`."""
    text = "\n".join(" ".join(str(part) for part in placement) for placement in placements(records))
    return hashlib.sha256(text.encode()).hexdigest()
