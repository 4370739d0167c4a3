"""Compute scale: the same GPU with faster or slower kernels, links and host unchanged."""

from __future__ import annotations

import numpy as np

from vdnnsim.trace import Trace
from vdnnsim.units import PPM

LONGEST_SCALED_NS = 1 << 42
"""Durations up to here can be scaled in 63 bits."""


def scaled_ns(duration_ns: int, scale_ppm: int) -> int:
    """A duration on a GPU `scale_ppm` millionths as fast, to the nearest nanosecond, halves up."""
    return (duration_ns * PPM + scale_ppm // 2) // scale_ppm


def scaled_durations_ns(durations_ns: np.ndarray, scales_ppm: np.ndarray) -> np.ndarray:
    """As `scaled_ns` for each duration (rows) and scale (columns). Durations must not exceed `LONGEST_SCALED_NS`."""
    return np.asarray((durations_ns[:, None] * PPM + scales_ppm // 2) // scales_ppm)


def scaled_trace(trace: Trace, scale_ppm: int) -> Trace:
    """The trace with every duration scaled."""
    if scale_ppm == PPM:
        return trace
    rows = (row._replace(duration_ns=scaled_ns(row.duration_ns, scale_ppm)) for row in trace.rows)
    return Trace(trace.header, rows)
