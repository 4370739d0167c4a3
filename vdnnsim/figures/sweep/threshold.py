"""How much of one axis each policy needs to stay within a loss of the oracle: a row for each network and batch."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vdnnsim.figures.looks import FAINT, GRID, LIMIT, LIMIT_LINE, Look, policy_looks
from vdnnsim.figures.page import SMALL_SIZE
from vdnnsim.figures.sweep.panels import legend_lines, number_axis, panel_grid
from vdnnsim.figures.sweep.scales import SCALES, Ruler
from vdnnsim.figures.sweep.view import View, best_by

_ROW_IN = 0.36
_SPREAD = 0.8
"""How much of a row its policies take."""
_NAMES = 0.09
"""How much of the width the rows' names take."""


def draw_threshold(view: View, title: str, x: str, loss: float, marks: Sequence[tuple[str, float]] = ()) -> Figure:
    """A marker stands at the smallest value from which on every larger one suffices too; `marks` are values of the axis
    to draw a line at, with their words."""
    scale = SCALES[x]
    panels = view.panels([x])
    idle = ("oracle", "baseline") if x.startswith("link") else ("oracle",)
    policies = [name for name in view.policies() if not name.startswith(idle)]
    styles = policy_looks(policies or view.policies())
    left_out = [name for name in view.policies() if name not in styles]
    note = f"least {scale.words} for at most {100 * loss:g} % loss against the oracle"
    note += "; at the left edge even the least is enough"
    if left_out and x.startswith("link"):
        note += f"; not shown, as they copy nothing: {', '.join(left_out)}"
    enough = {
        (row, name): least_enough(own, x, loss)
        for row, (_, rows) in enumerate(panels)
        for name in styles
        if len(own := rows[rows["policy"] == name])
    }
    legend = legend_lines(styles, lines=False)
    if None in enough.values():
        legend.append(Line2D([], [], color=FAINT, linestyle="none", marker="x", markersize=3.2, label="does not fit"))
    height_in = max(1.2, _ROW_IN * len(panels))
    figure, (axes,) = panel_grid(title, [" "], view.footer([x], note), legend, height_in, right_in=0.1)
    place = axes.get_position()
    axes.set_position((place.x0 + _NAMES, place.y0, place.width - _NAMES, place.height))
    ruler = Ruler.over(view.places(x))
    for row in range(len(panels)):
        for number, (name, look) in enumerate(styles.items()):
            height = row + _SPREAD * ((number + 0.5) / len(styles) - 0.5)
            if (row, name) not in enough:
                axes.text(ruler.at(0.01), height, "no points", va="center", fontsize=SMALL_SIZE, color=look.colour)
                continue
            least = enough[row, name]
            _mark(axes, height, look, None if least is None else least / scale.factor, ruler)
    axes.set_yticks(range(len(panels)), [text for text, _ in panels])
    axes.set_ylim(len(panels) - 0.5, -0.5)
    axes.set_xlim(ruler.at(-0.02), ruler.at(1.1))
    number_axis(axes, "x", ruler.logarithmic)
    axes.set_xticks([tick for tick in axes.get_xticks() if ruler.low <= tick <= ruler.high])
    axes.set_xlabel(scale.label)
    axes.tick_params(axis="y", length=0)
    for row in range(1, len(panels)):
        axes.axhline(row - 0.5, color=GRID, linewidth=0.5)
    axes.grid(axis="x", color=GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.axvline(ruler.at(1.02), color=FAINT, linewidth=0.5, linestyle=":")
    top = -0.5 - 0.06 * _ROW_IN / 0.3
    axes.text(ruler.at(1.06), top, "never", ha="center", va="bottom", fontsize=SMALL_SIZE, color=FAINT)
    for words, value in marks:
        axes.axvline(value / scale.factor, zorder=0.5, **LIMIT_LINE)
        axes.text(value / scale.factor, top, words, ha="center", va="bottom", fontsize=SMALL_SIZE, color=LIMIT)
    return figure


def least_enough(rows: pd.DataFrame, x: str, loss: float) -> float | None:
    """The smallest value of the axis from which on every one has at most this loss; infinite where none has; None where
    the policy fits nowhere."""
    best = best_by(rows, [x])
    if not best["trainable"].astype(bool).any():
        return None
    enough = (best["trainable"].astype(bool) & (best["performance"] >= 1 - loss)).to_numpy()
    least = float("inf")
    for value, good in zip(reversed(best[x].to_list()), reversed(enough), strict=True):
        if not good:
            break
        least = float(value)
    return least


def _mark(axes: Axes, height: float, look: Look, enough: float | None, ruler: Ruler) -> None:
    if enough is None:
        axes.plot([ruler.at(1.06)], [height], "x", color=look.colour, markersize=3.2, markeredgewidth=0.9)
        return
    inside = enough != float("inf")
    place = enough if inside else ruler.at(1.06)
    axes.plot([ruler.low, place], [height, height], color=look.colour, linewidth=0.7, alpha=0.6 if inside else 0.2)
    axes.plot([place], [height], look.marker, color=look.colour, markersize=3.6, markerfacecolor=look.face)
