"""Panels side by side, under one title and legend, over one footer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from vdnnsim.errors import InvalidInput
from vdnnsim.figures.looks import FAINT, GRID, INK, Look
from vdnnsim.figures.page import (
    MARGIN_IN,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH_IN,
    add_axes,
    new_figure,
    place_text,
    wrapped,
)
from vdnnsim.figures.sweep.scales import plain

MOST_PANELS = 12
_LEFT_IN, _UNDER_IN, _FOOTER_IN = 0.5, 0.46, 0.2
_TALL_IN = 1.6
_DECADE_IN = 0.75
"""The length of a decade from which on it has three ticks."""
_TITLE_IN, _LEGEND_ROW_IN, _PANEL_TITLE_IN = 0.26, 0.17, 0.2
_LINE_IN = 0.11
"""What each line of text after the first adds."""


def panel_grid(
    title: str,
    panels: Sequence[str],
    footer: str,
    legend: Sequence[Line2D] = (),
    height_in: float = 1.65,
    left_in: float = _LEFT_IN,
    right_in: float = MARGIN_IN,
    gap_in: float = 0.22,
    below_in: float = _UNDER_IN,
) -> tuple[Figure, list[Axes]]:
    """A figure with one axes for each panel, in rows of up to four, and what stands around them; ticks and labels have
    `below_in`.

    Raises `InvalidInput` above `MOST_PANELS`.
    """
    if len(panels) > MOST_PANELS:
        raise InvalidInput(
            f"plot: found {len(panels)} panels ({', '.join(panels[:3])}, ...), expected at most {MOST_PANELS}; "
            "choose some with --where"
        )
    columns = min(len(panels), 4 if len(panels) not in (5, 6, 9) else 3)
    rows = math.ceil(len(panels) / columns)
    width_in = (WIDTH_IN - left_in - right_in - (columns - 1) * gap_in) / columns
    panels = [wrapped(text, width_in, TEXT_SIZE) for text in panels]
    footer = wrapped(footer, WIDTH_IN - 2 * MARGIN_IN, SMALL_SIZE)
    legend_columns = 6 if len(legend) == 6 else 5
    legend_in = _LEGEND_ROW_IN * math.ceil(len(legend) / legend_columns) + (0.08 if legend else 0)
    top_in = (_TITLE_IN if title else 0.05) + legend_in
    panel_title_in = _PANEL_TITLE_IN + _LINE_IN * max(text.count("\n") for text in panels) if any(panels) else 0.0
    row_in = height_in + below_in + panel_title_in
    under_in = _FOOTER_IN + _LINE_IN * footer.count("\n")
    figure = new_figure(top_in + rows * row_in + under_in)
    total_in = figure.get_size_inches()[1]
    axes = []
    for index, text in enumerate(panels):
        row, column = divmod(index, columns)
        bottom_in = total_in - top_in - (row + 1) * row_in + below_in
        own = add_axes(figure, left_in + column * (width_in + gap_in), bottom_in, width_in, height_in)
        own.set_title(text, fontsize=TEXT_SIZE, loc="left", pad=3, color=INK)
        if column:
            own.tick_params(labelleft=False)
        axes.append(own)
    if title:
        place_text(figure, MARGIN_IN, total_in - 0.06, title, va="top", fontsize=TEXT_SIZE + 1, weight="bold")
    if legend:
        figure.legend(
            handles=list(legend),
            loc="upper left",
            bbox_to_anchor=(left_in / WIDTH_IN - 0.01, 1 - (top_in - legend_in) / total_in),
            ncols=legend_columns,
            fontsize=SMALL_SIZE + 0.5,
            handlelength=2.2,
            columnspacing=1.4,
            borderaxespad=0,
        )
    place_text(figure, MARGIN_IN, 0.05, footer, fontsize=SMALL_SIZE, color=FAINT, va="bottom")
    return figure, axes


def legend_lines(looks: dict[str, Look], lines: bool = True) -> list[Line2D]:
    """A legend's handles for policies."""
    return [Line2D([], [], label=name, **look.style(lines)) for name, look in looks.items()]


def number_axis(axes: Axes, which: str, logarithmic: bool) -> None:
    """Ticks with plain numbers; at 1, 2 and 5 of each decade where logarithmic."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    if logarithmic:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
        room_in = axes.get_position().width * WIDTH_IN if which == "x" else _TALL_IN
        steps = (1.0, 2.0, 5.0) if high / low < 10 ** (room_in / _DECADE_IN) else (1.0,)
        axis.set_major_locator(LogLocator(subs=steps, numticks=30))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def grid(axes: Axes) -> None:
    """Faint lines behind the data."""
    axes.grid(color=GRID, linewidth=0.4)
    axes.set_axisbelow(True)


def say_empty(axes: Axes) -> None:
    """In a panel that nothing can be drawn in."""
    axes.text(0.5, 0.5, "no points", transform=axes.transAxes, ha="center", fontsize=SMALL_SIZE, color=FAINT)
