"""How axes of sweeps are labelled and coloured in figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from vdnnsim.figures.style import policy_colours
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
        "link_latency": AxisScale("start-up time of a copy", "\N{MICRO SIGN}s", 10**3),
        "compute_scale": AxisScale("speed of kernels", "as traced = 1", PPM),
    }
)
"""The axes that figures can be drawn over."""


class Look(NamedTuple):
    """How a policy is drawn. Markers of memory-optimal (m) variants are not `filled`, their lines are dashed."""

    colour: str
    line: Any
    marker: str
    filled: bool = True

    @property
    def face(self) -> str:
        return self.colour if self.filled else "white"

    def style(self, line: bool = True) -> dict[str, Any]:
        """Matplotlib's words for it, the same in legends and panels; markers alone without `line`."""
        return {
            "color": self.colour,
            "linestyle": self.line if line else "none",
            "linewidth": 1,
            "marker": self.marker,
            "markersize": 3.2,
            "markerfacecolor": self.face,
        }


_DASHED: Any = (0, (4, 2))
_MARKS: Mapping[str, tuple[Any, str]] = MappingProxyType(
    {
        "oracle": (":", "*"),
        "baseline(m)": (_DASHED, "s"),
        "baseline(p)": ("-", "s"),
        "vdnn-all(m)": (_DASHED, "v"),
        "vdnn-all(p)": ("-", "v"),
        "vdnn-conv(m)": (_DASHED, "^"),
        "vdnn-conv(p)": ("-", "^"),
        "vdnn-dyn": ("-", "o"),
    }
)
"""The line and the marker of each policy."""
_OTHER_MARKS = ("-.", "D")


def looks(policies: Iterable[str]) -> dict[str, Look]:
    """One look for each policy: fixed for the package's own."""
    return {
        name: Look(colour, *_MARKS.get(name, _OTHER_MARKS), filled=not name.endswith("(m)"))
        for name, colour in policy_colours(policies).items()
    }


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
