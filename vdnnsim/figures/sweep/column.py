"""Any column of numbers over any axis: a line for each policy, a panel for each network and batch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdnnsim.figures.looks import INK, Look, policy_looks
from vdnnsim.figures.page import SMALL_SIZE
from vdnnsim.figures.sweep.panels import grid, legend_lines, number_axis, panel_grid, say_empty
from vdnnsim.figures.sweep.scales import SCALES, Ruler
from vdnnsim.figures.sweep.view import View, best_by, words
from vdnnsim.sweep.axes import AXES
from vdnnsim.sweep.columns import COLUMNS, Column
from vdnnsim.units import PPM

_UNITS: Mapping[str, tuple[str, float]] = MappingProxyType(
    {"ns": ("ms", 1e6), "B": ("GB", 1e9), "B/s": ("GB/s", 1e9), "ppm": ("1", PPM)}
)
"""How people read a column's unit, and how much of it that is."""
_WIDE = 30
"""From this ratio of the largest value to the least on values are shown by their logarithms."""
_TURNED_FROM = 4
"""More names, or ones of more than twice so many letters, stand upright."""
_LETTER_IN = 0.05


def draw_column(view: View, title: str, x: str, column: Column) -> Figure:
    """A point that does not fit stands there as a cross, with the number of a memory that has room."""
    name = axis_of(column)
    unit, factor = _UNITS.get(column.unit, (column.unit, 1.0))
    shown = [x, "batch"] if x == "network" else [x]
    panels = view.panels(shown, failed=True)
    looks = {"": Look(INK, "-", "o")} if x == "policy" else policy_looks(view.policies())
    unfit = "crosses: does not fit, as if the memory had room"
    footer = view.footer(shown, *([] if view.frame["trainable"].all() else [unfit]))
    legend = [] if x == "policy" else legend_lines(looks, lines=x in SCALES)
    names = [] if x in SCALES else _names(view, x)
    longest_in = _LETTER_IN * max(map(len, names)) if _upright(names) else 0.0
    below_in = max(0.46, longest_in + 0.2)
    titles = [text for text, _ in panels]
    figure, all_axes = panel_grid(title, titles, footer, legend, left_in=0.62, gap_in=0.5, below_in=below_in)
    for axes, (_, rows) in zip(all_axes, panels, strict=True):
        for policy, look in looks.items():
            _draw(axes, view, x, rows if x == "policy" else rows[rows["policy"] == policy], name, factor, look)
        if not (rows["status"] == "ok").any():
            say_empty(axes)
        axes.tick_params(labelleft=True)
        _limit(axes, rows[name].dropna().to_numpy(float) / factor)
        _places(axes, view, x)
        grid(axes)
    label = column.name if name == column.name else words(name)
    for ending in ("_ns", "_bytes", "_bytes_per_s", "_ppm", "_j", "_w"):
        label = label.removesuffix(ending)
    all_axes[0].set_ylabel(label.replace("_", " ") + (f" ({unit})" if unit not in ("", "1") else ""))
    return figure


def _draw(axes: Axes, view: View, x: str, rows: pd.DataFrame, name: str, factor: float, look: Look) -> None:
    best = best_by(rows[rows["status"] == "ok"], [x])
    across = _across(view, x, best[x])
    up = best[name].to_numpy(float) / factor
    fits = best["trainable"].to_numpy(bool)
    order = np.argsort(across)
    axes.plot(across[order], np.where(fits, up, np.nan)[order], **look.style(x in SCALES))
    axes.plot(across[~fits], up[~fits], linestyle="none", marker="x", markersize=3.5, color=look.colour)


def _across(view: View, x: str, values: pd.Series) -> np.ndarray:
    """Where values of the axis stand: by their size, or names side by side in the order of the rows."""
    if x in SCALES:
        return values.to_numpy(float) / SCALES[x].factor
    names = _names(view, x)
    return np.array([names.index(str(value)) for value in values], dtype=float)


def _names(view: View, x: str) -> list[str]:
    return [str(name) for name in dict.fromkeys(view.rows[x])]


def _upright(names: list[str]) -> bool:
    return len(names) > _TURNED_FROM or max(map(len, names), default=0) > 2 * _TURNED_FROM


def _places(axes: Axes, view: View, x: str) -> None:
    """The axis along the figure."""
    if x in SCALES:
        ruler = Ruler.over(view.places(x))
        axes.set_xlim(ruler.at(-0.04), ruler.at(1.04))
        number_axis(axes, "x", ruler.logarithmic)
        axes.set_xlabel(SCALES[x].label)
        return
    names = _names(view, x)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(len(names)), names, rotation=90 if _upright(names) else 0, fontsize=SMALL_SIZE)


def _limit(axes: Axes, values: np.ndarray) -> None:
    """From nothing up, or by logarithms."""
    low, high = float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))
    if not np.isfinite(low):
        return
    if low > 0 and high / low > _WIDE:
        axes.set_ylim(low / 1.3, high * 1.3)
        number_axis(axes, "y", logarithmic=True)
        return
    room = 0.04 * (max(high, 0.0) - min(low, 0.0)) or 1.0
    axes.set_ylim(min(low - room, 0.0) if low < 0 else 0.0, max(high, 0.0) + room)
    number_axis(axes, "y", logarithmic=False)


def axis_of(column: Column) -> str:
    """What a figure's rows call the column: an axis by its name."""
    return next((axis.name for axis in AXES.values() if axis.column == column.name), column.name)


def column_of(name: str) -> Column | None:
    """The column of this name, where there is one."""
    return next((column for column in COLUMNS if column.name == name), None)
