"""The figure of several GPUs at once: how much longer than alone each case takes, measured and simulated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vdnnsim.calibration.several.predictions import Predicted
from vdnnsim.figures import looks, page, saving

_ROW_IN, _LEFT_IN, _RIGHT_IN = 0.17, 2.3, 0.25
_STARTS = {"together": "started together", "staggered": "every second one half an iteration later"}
_MARKER = 3.4
_NOTE = (
    "Filled: measured. Hollow: simulated, each GPU by its own trace and profile, on the measured host. "
    "Crosses: measured, but cannot be told."
)


def together_figure(found: Sequence[Predicted], path: Path | str | None = None) -> tuple[Axes, ...]:
    """Draw how much longer than alone iterations take that begin with those of other GPUs: one row for each case, a
    mark for each GPU and start.

    Returns the axes; it is written where there is a `path`, whose suffix says the format. Raises `InvalidInput` for
    another suffix than PNG's, PDF's or SVG's, and where the file cannot be written.
    """
    gpus = len({one.record.gpu for one in found})
    title = f"{gpus} GPUs of one host at once: iterations against the same GPU alone"
    paths = [] if path is None else [Path(path)]
    return saving.write_figure(paths, title, _NOTE, lambda: compose(found, title))


def compose(found: Sequence[Predicted], title: str) -> Figure:
    """The figure, not yet written."""
    cases = list(dict.fromkeys(one.record.case for one in found))
    height_in = page.TOP_IN + page.BOTTOM_IN + _ROW_IN * max(6, len(cases))
    figure = page.new_figure(height_in)
    width_in = page.WIDTH_IN - _LEFT_IN - _RIGHT_IN
    axes = page.add_axes(figure, _LEFT_IN, page.BOTTOM_IN, width_in, height_in - page.TOP_IN - page.BOTTOM_IN)
    measured = {(one.record.case, one.record.gpu): one.record.measured_ns for one in found if _alone(one)}
    simulated = {(one.record.case, one.record.gpu): one.simulated_ns for one in found if _alone(one)}
    for one in found:
        key = (one.record.case, one.record.gpu)
        if _alone(one) or key not in measured:
            continue
        place = cases.index(one.record.case) + (0.16 if one.record.start == "staggered" else -0.16)
        colour = looks.START_COLOURS[one.record.start]
        longer = 100 * (one.record.measured_ns / measured[key] - 1)
        shape = "o" if one.record.told else "x"
        axes.plot(longer, place, shape, color=colour, markersize=_MARKER, markeredgewidth=0.8, zorder=3)
        said = 100 * (one.simulated_ns / simulated[key] - 1)
        axes.plot(said, place, "o", color=colour, markerfacecolor="none", markersize=_MARKER + 2, markeredgewidth=0.7)
    axes.set_yticks(range(len(cases)), [f"{name} ({batch}), {math}, {policy}" for name, batch, math, policy in cases])
    axes.set_ylim(len(cases) - 0.5, -0.5)
    axes.axvline(0, color=looks.INK, linewidth=0.6)
    axes.grid(axis="x", color=looks.GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("longer than alone, %")
    handles = [
        Line2D([], [], marker="o", linestyle="", color=looks.START_COLOURS[start], markersize=_MARKER, label=name)
        for start, name in _STARTS.items()
    ]
    page.dress(figure, title, handles, _NOTE)
    return figure


def _alone(one: Predicted) -> bool:
    return one.record.start == "alone"
