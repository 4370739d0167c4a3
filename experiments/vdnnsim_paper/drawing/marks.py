"""The small things that bar charts share: texts, points, lines, and the scale of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from vdnnsim.figures import MARGIN_IN

Handle = tuple[Patch | Line2D | tuple[Patch, ...], str]
"""What stands in the legend, and its words."""
HANDLE_IN = 0.24
"""What an entry of the legend takes beside its words."""
INTERVALS = 5
"""Between the ticks of an axis that shares its grid with another."""
PAPER = "#7744CC"
"""The colour of the paper's stated values, in which nothing else is drawn."""
_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
_PAPER: dict[str, Any] = {"color": PAPER, "linewidth": 1.7, "solid_capstyle": "butt"}


def round_step(top: float) -> float:
    """The smallest round step with which `INTERVALS` of them reach `top`."""
    least = max(top, 1e-9) / INTERVALS
    decade = 10.0 ** math.floor(math.log10(least))
    return float(next(step * decade for step in _STEPS if step * decade >= least * (1 - 1e-9)))


def three_digits(value: float) -> str:
    """A number for a picture: 0.366, 4.20, 36.0, 171."""
    return f"{value:#.3g}" if abs(value) < 99.95 else f"{value:.0f}"


def draw_paper(axes: Axes, place: float, value: float, width: float) -> None:
    """A short level line where the paper's value is."""
    outline = [withStroke(linewidth=3.0, foreground="white")]
    axes.plot([place - width / 2, place + width / 2], [value, value], zorder=5, path_effects=outline, **_PAPER)


def paper_handle() -> Line2D:
    return Line2D([], [], **_PAPER)


def place_legend(figure: Figure, top_in: float, handles: Sequence[Handle]) -> None:
    """A row of the legend, below `top_in` from the figure's lower edge."""
    width, height = figure.get_size_inches()
    figure.add_artist(
        Legend(
            figure,
            [handle for handle, _ in handles],
            [label for _, label in handles],
            handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
            loc="upper left",
            bbox_to_anchor=(MARGIN_IN / width, (top_in - 0.02) / height),
            bbox_transform=figure.transFigure,
            ncols=len(handles),
            columnspacing=0.9,
            handlelength=1.1,
            handletextpad=0.45,
            borderaxespad=0,
            borderpad=0,
        )
    )
