"""The page of a figure: its sizes in inches, axes at places in inches, and the words and marks that figures share."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from vdnnsim.figures.looks import FAINT, INK

WIDTH_IN = 7.0
"""The text width of a two-column page."""
MARGIN_IN = 0.08
TOP_IN = 0.7
"""Room above the axes, for the title and the legend."""
LEGEND_ROW_IN = 0.17
"""Room for a second row of the legend."""
BOTTOM_IN = 0.64
"""Room below the axes, for the axis' label and the footer."""
DPI = 300
FAR = 2.5
"""A capacity this many times the most that was in use is written at the edge: to scale, the rest would be specks."""

_HANDLE_IN = 0.3
"""A legend's mark and the room beside it."""

TEXT_SIZE = 7.0
SMALL_SIZE = 6.0


def new_figure(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure, of the page's width unless another is said."""
    figure = Figure(figsize=(width_in, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, left_in: float, bottom_in: float, width_in: float, height_in: float) -> Axes:
    """Axes at a place given in inches from the figure's lower left."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left_in / width, bottom_in / height, width_in / width, height_in / height))


def dress(figure: Figure, title: str, handles: Sequence[Patch | Line2D], note: str) -> None:
    """Put a title and a legend above the axes, in one row where it is wide enough, else in two, and a footer below."""
    height_in = figure.get_size_inches()[1]
    width_in = sum(text_width_in(figure, str(handle.get_label())) + _HANDLE_IN for handle in handles)
    rows = 1 if width_in <= WIDTH_IN else 2
    place_line(figure, height_in - 0.09, title, weight="bold", va="top", size=TEXT_SIZE + 1)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 0.24 / height_in),
        ncols=math.ceil(len(handles) / rows),
        columnspacing=1.2,
        handlelength=1.2,
        handletextpad=0.5,
    )
    place_line(figure, 0.07, note, size=SMALL_SIZE, color=FAINT, va="bottom")


def class_handles(colours: Mapping[str, str]) -> list[Patch | Line2D]:
    """The legend's entries for classes of memory."""
    return [Patch(facecolor=colour, label=name) for name, colour in colours.items()]


def write_beside(axes: Axes, text: str, x: float, y: float, **options: Any) -> None:
    """Text in small letters at a place of the axes, which may be outside them; `coords` as matplotlib's `xycoords`,
    `shift_pt` moves it. `outlined`, it is in front of everything, its letters edged in white where lines pass."""
    if options.pop("outlined", False):
        options |= {"zorder": 7, "path_effects": [withStroke(linewidth=1.6, foreground="white")]}
    axes.annotate(
        text,
        (x, y),
        xycoords=options.pop("coords", "data"),
        xytext=options.pop("shift_pt", (3, 0)),
        textcoords="offset points",
        size=options.pop("size", SMALL_SIZE),
        va=options.pop("va", "center_baseline"),
        annotation_clip=False,
        **options,
    )


def diamonds(places: Sequence[float], values: Sequence[float], label: str = "") -> Line2D:
    """Hollow diamonds in front of bars, which stand for another quantity than these."""
    return Line2D(
        places, values, marker="D", linestyle="", linewidth=0.8, markersize=3.2, color=INK, markerfacecolor="white",
        markeredgecolor=INK, markeredgewidth=0.7, label=label, zorder=6, clip_on=False,
    )  # fmt: skip


def place_text(figure: Figure, x_in: float, y_in: float, text: str, **options: Any) -> Text:
    """Text at a place given in inches from the figure's lower left."""
    width_in, height_in = figure.get_size_inches()
    return figure.text(x_in / width_in, y_in / height_in, text, **options)


def place_line(figure: Figure, y_in: float, text: str, **options: Any) -> None:
    """A line across the page, in smaller letters where it is too long."""
    placed = place_text(figure, MARGIN_IN, y_in, text, **options)
    room_in = float(figure.get_size_inches()[0]) - 2 * MARGIN_IN
    needed_in = placed.get_window_extent().width / figure.dpi
    if needed_in > room_in:
        placed.set_fontsize(float(placed.get_fontsize()) * room_in / needed_in)


def text_width_in(figure: Figure, text: str, size: float = TEXT_SIZE) -> float:
    """The width that a text would have, in inches."""
    probe = figure.text(0, 0, text, fontsize=size)
    width = probe.get_window_extent().width / figure.dpi
    probe.remove()
    return float(width)


def wrapped(text: str, width_in: float, size: float) -> str:
    """The text in lines that are no wider, broken between words; a word that is wider has a line to itself."""
    probe = new_figure(1)
    probe.set_dpi(DPI)  # letters are not equally wide at every resolution
    words = text.split(" ")
    lines: list[str] = []
    while words:
        more = range(2, len(words) + 1)
        fit = 1 + bisect_right(more, width_in, key=lambda count: text_width_in(probe, " ".join(words[:count]), size))
        lines.append(" ".join(words[:fit]))
        words = words[fit:]
    return "\n".join(lines)


def time_unit(end_ns: int) -> tuple[str, float]:
    """The unit of a time axis that ends there, and what nanoseconds are multiplied with."""
    if end_ns >= 10**10:
        return "s", 1e-9
    return ("ms", 1e-6) if end_ns >= 10**6 else ("µs", 1e-3)
