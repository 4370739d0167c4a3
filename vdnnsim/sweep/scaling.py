"""Compute scale: the same GPU with faster or slower kernels, links and host unchanged."""

from __future__ import annotations

import numpy as np

from vdnnsim.units import PPM

LONGEST_SCALED_NS = 1 << 42
"""Durations up to here can be scaled in 63 bits."""


def scaled_durations_ns(durations_ns: np.ndarray, scales_ppm: np.ndarray) -> np.ndarray:
    """As `scaled_ns` for each duration (rows) and scale (columns). Durations must not exceed `LONGEST_SCALED_NS`."""
    return np.asarray((durations_ns[:, None] * PPM + scales_ppm // 2) // scales_ppm)
