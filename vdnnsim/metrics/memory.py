"""Bytes in use over an iteration: peak, averages, classes. Sizes are as asked for; the pool's rounding shows in its
high-water mark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from vdnnsim.timeline import SETUP, MemoryRecord


class MemoryUse(NamedTuple):
    """`average_bytes` is over time, `average_bytes_per_step` over the layer steps of forward and backward, each with
    the most that was in use during it. `by_class_at_peak` are the bytes of each memory class at the peak."""

    peak_bytes: int
    average_bytes: int
    average_bytes_per_step: int
    by_class_at_peak: Mapping[str, int]
    peak_by_class: Mapping[str, int]
    peak_step: int


class _Level:
    """Bytes in use as records come in, with their running maximum and time integral."""

    def __init__(self, classes: Iterable[str]) -> None:
        self.now_bytes = 0
        self.peak_bytes = -1
        self.peak_step = SETUP
        self.area = 0
        self.since_ns = 0
        self.by_class = dict.fromkeys(classes, 0)
        self.peak_by_class = dict(self.by_class)
        self.by_class_at_peak = dict(self.by_class)

    def change(self, record: MemoryRecord) -> None:
        self.area += self.now_bytes * (record.time_ns - self.since_ns)
        self.since_ns = record.time_ns
        size = record.size_bytes if record.taken else -record.size_bytes
        self.now_bytes += size
        in_class = self.by_class[record.memory_class] + size
        self.by_class[record.memory_class] = in_class
        if in_class > self.peak_by_class[record.memory_class]:
            self.peak_by_class[record.memory_class] = in_class
        if self.now_bytes > self.peak_bytes:
            self.peak_bytes = self.now_bytes
            self.peak_step = record.step
            self.by_class_at_peak = self.by_class.copy()


class UseByClass(NamedTuple):
    """For each memory class alone, what `MemoryUse` says of all: its own peak and averages."""

    peak_bytes: Mapping[str, int]
    average_bytes: Mapping[str, int]
    average_bytes_per_step: Mapping[str, int]


def use_by_class(records: Sequence[MemoryRecord], steps: int, end_ns: int, classes: Iterable[str]) -> UseByClass:
    """The use of each memory class by these records; see `memory_use`."""
    uses = {
        name: memory_use([record for record in records if record.memory_class == name], steps, end_ns, (name,))
        for name in classes
    }
    return UseByClass(
        {name: use.peak_bytes for name, use in uses.items()},
        {name: use.average_bytes for name, use in uses.items()},
        {name: use.average_bytes_per_step for name, use in uses.items()},
    )


def memory_use(records: Sequence[MemoryRecord], steps: int, end_ns: int, classes: Iterable[str]) -> MemoryUse:
    """Bytes in use by these records, in an iteration of so many steps that ends at `end_ns`."""
    level = _Level(classes)
    step_peaks = [0] * steps
    step = SETUP
    for record in records:
        while step < record.step:
            step += 1
            step_peaks[step] = level.now_bytes
        level.change(record)
        if step >= 0 and level.now_bytes > step_peaks[step]:
            step_peaks[step] = level.now_bytes
    while step < steps - 1:
        step += 1
        step_peaks[step] = level.now_bytes
    area = level.area + level.now_bytes * (end_ns - level.since_ns)
    return MemoryUse(
        max(level.peak_bytes, 0),
        area // end_ns if end_ns else level.now_bytes,
        sum(step_peaks) // steps if steps else level.now_bytes,
        level.by_class_at_peak,
        level.peak_by_class,
        level.peak_step,
    )
