"""What pinning host memory costs: so much for each call, and so much for each byte.

Fresh memory of several sizes is pinned and given back. Times rise by the byte, nearly: the line through their medians,
each weighed by its own length so that small sizes count as large ones do, has the cost of a call and of a byte.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from vdnnsim.calibration.samples import Sample, sample
from vdnnsim.calibration.watch import Watch
from vdnnsim.gpu import Pinning
from vdnnsim.machines.real.device import Device

_SMALLEST_BYTES, _SIZES = 1 << 20, 5
_TURNS = 5
_LEAST_PER_BYTE_NS = 1e-6


class PinningReport(NamedTuple):
    """The line as a profile has it; the widest spread of a size, in millionths; the sizes that never ran
    undisturbed."""

    costs: Pinning
    spread_ppm: int
    disturbed: tuple[str, ...]


def measure_pinning(watch: Watch) -> PinningReport:
    """Sizes from 1 MiB, four times as large each, as far as the device's largest copy. Raises `DeviceRefused` where the
    host cannot pin so much."""
    device = watch.device
    sizes = [_SMALLEST_BYTES << 2 * step for step in range(_SIZES)]
    sizes = [size_bytes for size_bytes in sizes if size_bytes <= device.largest_copy_bytes]
    seen = [watch.undisturbed(partial(_pinned, watch.device, size_bytes)) for size_bytes in sizes]
    times_ns = [one.value.median_ns for one in seen]
    spread_ppm = max(one.value.spread_ppm for one in seen)
    disturbed = tuple(f"pinning {size} B" for size, one in zip(sizes, seen, strict=True) if not one.quiet)
    return PinningReport(line_through(sizes, times_ns), spread_ppm, disturbed)


def _pinned(device: Device, size_bytes: int) -> Sample:
    return sample(device.pinning_ns(size_bytes) for _ in range(_TURNS))


def line_through(sizes_bytes: list[int], times_ns: list[int]) -> Pinning:
    """The costs of a call and of a byte whose sums are nearest to these times, by their ratio; a byte costs nothing
    that is known where larger sizes take no longer."""
    weights = [1 / max(1, time_ns) for time_ns in times_ns]
    per_byte_ns, call_ns = np.polyfit(sizes_bytes, times_ns, 1, w=weights)
    bytes_per_s = max(1, round(1e9 / per_byte_ns)) if per_byte_ns > _LEAST_PER_BYTE_NS else None
    return Pinning(bytes_per_s=bytes_per_s, call_ns=max(0, round(call_ns)))
