"""What an iteration draws, by the three figures of a GPU's profile.

    power at an instant = idle, or with a kernel running: compute; and with a copy running: that much more

so that over an iteration

    average = idle + (compute - idle) x share of time with kernels + copy x share of time with copies
    peak = compute, or compute + copy where a copy runs beside a kernel
    energy = average x time

One figure stands for all kernels, so that the ratio of two policies on one network says more than the watts: within
4 % of what an H200's board drew (docs/calibration.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from vdnnsim.gpu.profile import Power
from vdnnsim.timeline import Timeline

if TYPE_CHECKING:
    import numpy as np

_Number = TypeVar("_Number", float, "np.ndarray")
_Span = tuple[int, int]


class PowerUse(NamedTuple):
    """Over one iteration: joules, and watts on average and at most."""

    energy_j: float
    average_w: float
    peak_w: float


class CopyTime(NamedTuple):
    """How long copies ran, one way or both, and whether a kernel ran beside one of them."""

    copying_ns: int
    beside_kernels: bool


def power_use(timeline: Timeline, power: Power) -> PowerUse:
    """What the iteration draws; one that takes no time is idle."""
    kernels = [(kernel.begin_ns, kernel.end_ns) for kernel in timeline.kernels]
    copying_ns, beside = copy_time(kernels, ((copy.begin_ns, copy.end_ns) for copy in timeline.copies))
    total_ns = timeline.iteration_time_ns
    energy_j = energy_of(power, total_ns, sum(end_ns - begin_ns for begin_ns, end_ns in kernels), copying_ns)
    average_w = energy_j * 1e9 / total_ns if total_ns else power.idle_w
    return PowerUse(energy_j, average_w, peak_of(power, bool(kernels), bool(timeline.copies), beside))


def energy_of(power: Power, total_ns: _Number, kernel_ns: _Number, copying_ns: _Number) -> _Number:
    """Joules, of one iteration or of many at once."""
    return (power.idle_w * total_ns + (power.compute_w - power.idle_w) * kernel_ns + power.copy_w * copying_ns) / 1e9


def peak_of(power: Power, kernels: bool, copies: bool, beside: bool) -> float:
    """Watts at most, of an iteration with kernels, with copies, and with a kernel beside a copy."""
    drawn_w = [power.idle_w]
    drawn_w += [power.compute_w] if kernels else []
    drawn_w += [power.idle_w + power.copy_w] if copies else []
    drawn_w += [power.compute_w + power.copy_w] if beside else []
    return max(drawn_w)


def copy_time(kernels: Iterable[_Span], copies: Iterable[_Span]) -> CopyTime:
    """Of spans of time, kernels in order and one after the other, copies in any."""
    copying_ns = until_ns = 0
    beside = False
    following = (kernel for kernel in kernels if kernel[0] < kernel[1])
    kernel = next(following, None)
    for begin_ns, end_ns in sorted(copies):
        if end_ns > until_ns:
            copying_ns += end_ns - max(begin_ns, until_ns)
            until_ns = end_ns
        while not beside and kernel is not None and kernel[1] <= begin_ns:
            kernel = next(following, None)
        beside = beside or (kernel is not None and max(begin_ns, kernel[0]) < min(end_ns, kernel[1]))
    return CopyTime(copying_ns, beside)
