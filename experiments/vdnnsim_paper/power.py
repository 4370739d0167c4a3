"""The power estimate, from the three figures of a GPU's profile.

    power at an instant = idle, or with a kernel running: compute; and with a copy running: that much more

so that over an iteration

    average = idle + (compute - idle) x share of time with kernels + copy x share of time with copies
    maximum = compute, or compute + copy where a copy runs beside a kernel

The profile's figures are assumptions where it calls them modelled; then the maximum is no prediction but their ratio.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vdnnsim import GpuProfile, InvalidInput, Timeline


class PowerUse(NamedTuple):
    """Over one iteration: watts at most and on average, and joules."""

    maximum_w: float
    average_w: float
    energy_j: float


_Span = tuple[int, int]


def power_use(timeline: Timeline, gpu: GpuProfile) -> PowerUse:
    """Raises `InvalidInput` for a profile without power figures."""
    power = gpu.power
    if power is None:
        raise InvalidInput(f"GPU {gpu.name}: found no [power] in its profile, expected idle_w, compute_w, copy_w")
    kernels = _merged((kernel.begin_ns, kernel.end_ns) for kernel in timeline.kernels)
    copies = _merged((copy.begin_ns, copy.end_ns) for copy in timeline.copies)
    total_ns = timeline.iteration_time_ns
    kernel_w = (power.compute_w - power.idle_w) * _length(kernels) / total_ns
    average_w = power.idle_w + kernel_w + power.copy_w * _length(copies) / total_ns
    maximum_w = power.compute_w + (power.copy_w if _overlap(kernels, copies) else 0.0)
    return PowerUse(maximum_w, average_w, average_w * total_ns / 1e9)


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def _length(spans: Iterable[_Span]) -> int:
    return sum(end - begin for begin, end in spans)


def _overlap(left: list[_Span], right: list[_Span]) -> bool:
    return any(a_begin < b_end and b_begin < a_end for a_begin, a_end in left for b_begin, b_end in right)
