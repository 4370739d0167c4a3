"""Bytes in use over time, from records written by hand."""

from __future__ import annotations

from vdnnsim.report.levels import Level, memory_levels
from vdnnsim.results import Comparison
from vdnnsim.timeline import SETUP, MemoryRecord


def record(time_ns: int, taken: bool, memory_class: str, size_bytes: int) -> MemoryRecord:
    return MemoryRecord(SETUP, time_ns, taken, "buffer", memory_class, False, 0, size_bytes)


def test_each_class_has_its_own_sum() -> None:
    records = [
        record(0, True, "weights", 10),
        record(0, True, "maps", 20),
        record(5, True, "maps", 7),
        record(9, False, "maps", 20),
    ]
    assert memory_levels(records, ("weights", "maps")) == [Level(0, (10, 20)), Level(5, (10, 27)), Level(9, (10, 7))]


def test_a_peak_within_one_moment_is_kept() -> None:
    records = [record(3, True, "maps", 4), record(3, False, "maps", 4), record(3, True, "maps", 1)]
    assert memory_levels(records, ("maps",)) == [Level(3, (4,)), Level(3, (0,)), Level(3, (1,))]


def test_no_records_no_levels() -> None:
    assert memory_levels([], ("maps",)) == []


def test_the_highest_level_is_the_peak_of_the_result(every: Comparison) -> None:
    for run in every.runs:
        levels = memory_levels(run.timeline.memory, tuple(run.result.bytes_by_class_at_peak))
        assert max(sum(level.bytes_by_class) for level in levels) == run.result.peak_bytes
