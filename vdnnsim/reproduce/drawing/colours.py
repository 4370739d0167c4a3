"""Colours of the series, the same in every figure; those of memory classes are the package's own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from matplotlib.colors import to_hex, to_rgb

from vdnnsim.report.figure.style import CLASS_COLOURS

_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        **CLASS_COLOURS,
        "vdnn-all(m)": "#6699CC",
        "vdnn-all(p)": "#004488",
        "vdnn-conv(m)": "#EECC66",
        "vdnn-conv(p)": "#997700",
        "vdnn-dyn": "#994455",
        "baseline(m)": "#CCCCCC",
        "baseline(p)": "#888888",
        "vdnn-all(p) maximum": "#6699CC",
        "vdnn-all(p) average": "#004488",
        "vdnn-dyn maximum": "#EE99AA",
        "vdnn-dyn average": "#994455",
        "allocated": "#6699CC",
        "forward": "#6699CC",
        "backward": "#994455",
        "on the GPU": "#004488",
        "on the host": "#EECC66",
    }
)
_SPARE = ("#6699CC", "#994455", "#EECC66", "#004488", "#997700", "#EE99AA")


def colour_of(name: str, index: int) -> str:
    """The colour of a series or part; `index` is its place among its kind, for names that have none of their own."""
    return _COLOURS.get(name) or _SPARE[index % len(_SPARE)]


def paled(colour: str, strength: float) -> str:
    """The colour mixed with white, opaque, so that grid lines do not show through."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))
