"""Bytes in use over time, class by class: what counters and areas show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vdnnsim.timeline import MemoryRecord


class Level(NamedTuple):
    """From `time_ns` on, until the next one, so many bytes of each class are in use."""

    time_ns: int
    bytes_by_class: tuple[int, ...]


def memory_levels(records: Iterable[MemoryRecord], classes: Sequence[str]) -> list[Level]:
    """The levels, in order. Records of one moment become one level for as long as they all take or all give back, so
    that no peak is lost."""
    place = {name: index for index, name in enumerate(classes)}
    now = [0] * len(classes)
    levels: list[Level] = []
    last: MemoryRecord | None = None
    for record in records:
        now[place[record.memory_class]] += record.size_bytes if record.taken else -record.size_bytes
        level = Level(record.time_ns, tuple(now))
        if last is not None and (last.time_ns, last.taken) == (record.time_ns, record.taken):
            levels[-1] = level
        else:
            levels.append(level)
        last = record
    return levels
