"""Performance over one axis, a line for each policy, a panel for each network and batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vdnnsim.figures.looks import FAINT, LIMIT, LIMIT_LINE, policy_looks
from vdnnsim.figures.page import SMALL_SIZE
from vdnnsim.figures.sweep.panels import grid, legend_lines, number_axis, panel_grid, say_empty
from vdnnsim.figures.sweep.scales import SCALES, Ruler
from vdnnsim.figures.sweep.view import View, best_by

_MARKERS = 12
"""About how many a line has."""


def draw_lines(view: View, title: str, x: str, loss: float, marks: Sequence[tuple[str, float]] = ()) -> Figure:
    """Lines break where a policy does not fit, and where a point failed."""
    scale = SCALES[x]
    panels = view.panels([x], failed=True)
    styles = policy_looks(view.policies())
    footer = view.footer([x], "lines break where a policy does not fit or a point failed")
    figure, all_axes = panel_grid(title, [text for text, _ in panels], footer, legend_lines(styles))
    ruler = Ruler.over(view.places(x))
    for axes, (_, rows) in zip(all_axes, panels, strict=True):
        for name, look in styles.items():
            values, shown = _line(rows[rows["policy"] == name], x)
            axes.plot(values / scale.factor, shown, markevery=_marked(shown), **look.style())
        if not (rows["status"] == "ok").any():
            say_empty(axes)
        for words, value in marks:
            axes.axvline(value / scale.factor, zorder=0.5, **LIMIT_LINE)
            if axes is all_axes[0]:
                axes.text(value / scale.factor, 0.02, f" {words}", fontsize=SMALL_SIZE, color=LIMIT)
        axes.axhline(1 - loss, color=FAINT, linewidth=0.5, zorder=0)
        axes.set_xlabel(scale.label)
        axes.set_ylim(0, 1.04)
        axes.set_xlim(ruler.at(-0.04), ruler.at(1.04))
        number_axis(axes, "x", ruler.logarithmic)
        grid(axes)
    all_axes[0].set_ylabel("performance (oracle = 1)")
    right, under = ruler.at(1.035), 1 - loss - 0.012
    all_axes[0].text(right, under, f"{1 - loss:.0%}", fontsize=SMALL_SIZE, color=FAINT, ha="right", va="top")
    return figure


def _line(rows: pd.DataFrame, x: str) -> tuple[np.ndarray, np.ndarray]:
    """Every value of the axis that a point was tried at, and the best performance there; none where nothing is."""
    best = best_by(rows[rows["status"] == "ok"], [x])
    performance = best[best["trainable"].astype(bool)].set_index(x)["performance"]
    values = np.unique(rows[x].to_numpy(dtype=float))
    return values, performance.reindex(values).to_numpy(dtype=float)


def _marked(shown: np.ndarray) -> list[int]:
    """Places with a marker: some all along, and those that no line goes to or from."""
    there = np.isfinite(shown)
    beside = np.pad(there, 1)
    alone = there & ~beside[:-2] & ~beside[2:]
    return [index for index in range(len(shown)) if index % -(-len(shown) // _MARKERS) == 0 or alone[index]]
