"""How axes of sweeps are labelled and coloured in figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from vdnnsim.units import PPM


class AxisScale(NamedTuple):
    """An axis in a figure: its words, its unit, and how much of the column's unit that is."""

    words: str
    unit: str
    factor: float

    @property
    def label(self) -> str:
        return f"{self.words} ({self.unit})" if self.unit else self.words


SCALES: Mapping[str, AxisScale] = MappingProxyType(
    {
        "batch": AxisScale("batch", "images", 1),
        "capacity": AxisScale("device memory", "GB", 10**9),
        "link_bandwidth": AxisScale("link bandwidth", "GB/s", 10**9),
        "link_bandwidth_out": AxisScale("link bandwidth out", "GB/s", 10**9),
        "link_bandwidth_in": AxisScale("link bandwidth in", "GB/s", 10**9),
        "pinned_budget": AxisScale("pinned host memory", "GB", 10**9),
        "gpus": AxisScale("GPUs", "", 1),
        "host_scale": AxisScale("time of the host's calls", "as profiled = 1", PPM),
        "link_latency": AxisScale("start-up time of a copy", "\N{MICRO SIGN}s", 10**3),
        "compute_scale": AxisScale("speed of kernels", "as traced = 1", PPM),
    }
)
"""The axes that figures can be drawn over."""


def is_logarithmic(values: Sequence[float]) -> bool:
    """Whether values are spaced by factors rather than by steps, or span more than a factor of 8."""
    distinct = np.unique(np.asarray(values, dtype=float))
    if len(distinct) < 3 or distinct[0] <= 0:
        return False
    ratios, steps = distinct[1:] / distinct[:-1], np.diff(distinct)
    by_factors = float(np.std(ratios) / np.mean(ratios)) < float(np.std(steps) / np.mean(steps))
    return by_factors and bool(distinct[-1] / distinct[0] > 3)


class Ruler(NamedTuple):
    """The range of an axis, and places along it as shares of that range."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def over(cls, places: np.ndarray) -> Ruler:
        """From rising values."""
        return cls(float(places[0]), float(places[-1]), is_logarithmic(list(places)))

    def at(self, share: float) -> float:
        """A share below 0 or above 1 is outside the range."""
        if self.logarithmic:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share


def plain(value: float) -> str:
    """A tick's number without exponent or needless zeros."""
    return f"{value:g}" if value < 10_000 else f"{value:,.0f}"
