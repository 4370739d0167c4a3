"""How things look in every figure: one table of policies, one of classes of memory, one of engines.

Colours: from Paul Tol's medium-contrast set (personal.sron.nl/~pault), with a grey; told apart with any colour vision
and, neighbour by neighbour, in grey print.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import cycle
from types import MappingProxyType
from typing import Any, NamedTuple

from matplotlib.colors import to_hex, to_rgb

INK = "#222222"
FAINT = "#777777"
GRID = "#DDDDDD"
LIMIT = "#CC3311"
SHADE = "#EEEEEE"
"""An area behind data."""
HATCH = "#AAAAAA"
"""The lines of a hatched area, and the outline of an empty one."""
LIMIT_LINE: Mapping[str, Any] = MappingProxyType({"color": LIMIT, "linewidth": 0.8, "linestyle": (0, (4, 2))})
"""A capacity, or another value that things are to be seen against."""


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


_DASHED = (0, (4, 2))
POLICY_LOOKS: Mapping[str, Look] = MappingProxyType(
    {
        "oracle": Look(INK, ":", "*"),
        "baseline(m)": Look("#CCCCCC", _DASHED, "s", filled=False),
        "baseline(p)": Look("#888888", "-", "s"),
        "vdnn-all(m)": Look("#6699CC", _DASHED, "v", filled=False),
        "vdnn-all(p)": Look("#004488", "-", "v"),
        "vdnn-conv(m)": Look("#DDAA33", _DASHED, "^", filled=False),
        "vdnn-conv(p)": Look("#997700", "-", "^"),
        "vdnn-dyn": Look("#994455", "-", "o"),
        "vdnn++": Look("#990000", "-", "D"),
        "vdnn-conv+recompute": Look("#3333FF", "-", "P"),
    }
)
"""A hue for each pair of policies, light for (m) and dark for (p); dark enough for a line, apart enough for bars."""
CLASS_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "weights": "#004488",
        "weight gradients": "#6699CC",
        "feature maps": "#EECC66",
        "gradient maps": "#994455",
        "workspace": "#999999",
    }
)
BLOCK_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "parameter": CLASS_COLOURS["weights"],
        "gradient": CLASS_COLOURS["weight gradients"],
        "optimiser state": "#997700",
        "input": "#CCDDAA",
        "saved": CLASS_COLOURS["feature maps"],
        "workspace": CLASS_COLOURS["workspace"],
        "other": CLASS_COLOURS["gradient maps"],
    }
)
"""Of captured steps; what is nearest to a class of networks has its colour."""
ENGINE_COLOURS: Mapping[str, str] = MappingProxyType({"compute": "#555555", "copy": "#997700", "stall": LIMIT})
PASS_COLOURS: Mapping[str, str] = MappingProxyType({"forward": "#6699CC", "backward": "#994455"})
"""Kernels, where forward and backward are told apart."""
LOSS_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "algorithms_ns": "#004488",
        "again_ns": "#66A5C9",
        "copies_out_ns": "#997700",
        "copies_in_ns": "#EECC66",
        "late_fetches_ns": LIMIT,
        "host_ns": "#555555",
        "synchronise_ns": "#AAAAAA",
    }
)
"""The parts of a loss."""
START_COLOURS: Mapping[str, str] = MappingProxyType({"together": "#004488", "staggered": "#CC3311"})
"""Of several GPUs: when their iterations begin."""
PERFORMANCE_COLOUR = "#44AA99"
_OTHER_CLASSES = ("#997700", "#EE99AA", "#44AA99", "#332288")
_OTHER_POLICIES = ("#44AA99", "#332288", "#EE99AA", "#117733")


def policy_looks(policies: Iterable[str]) -> dict[str, Look]:
    """The look of each policy: the same in every figure for the package's own, spare ones for the user's."""
    spare = cycle(_OTHER_POLICIES)
    return {
        name: POLICY_LOOKS.get(name)
        or POLICY_LOOKS.get(f"{name}(p)")
        or Look(next(spare), "-.", "D", filled=not name.endswith("(m)"))
        for name in dict.fromkeys(policies)
    }


def class_colours(classes: Iterable[str]) -> dict[str, str]:
    """A colour for each class of memory, with spare ones for classes that are not the package's own."""
    spare = cycle(_OTHER_CLASSES)
    return {name: CLASS_COLOURS.get(name) or BLOCK_COLOURS.get(name) or next(spare) for name in classes}


def paled(colour: str, strength: float) -> str:
    """The colour mixed with white, opaque, so that grid lines do not show through; 1 is the colour itself."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))
