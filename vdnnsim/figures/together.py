"""The figure of several GPUs at once: how much longer than alone each case takes, measured and simulated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vdnnsim.calibration.several.predictions import Predicted
from vdnnsim.calibration.several.records import Start
from vdnnsim.figures import looks, page, saving

_LANE_IN, _ROW_IN, _MOST_IN = 0.052, 0.17, 0.6
"""Room for each GPU and start of a case; a row has at least and at most so much."""
_LANES = 0.84
"""What its lanes take of a row's height."""
_ROWS = 6
"""A figure has room for this many at least."""
_GAP_IN = 0.12
_STARTS = {Start.TOGETHER: "started together", Start.STAGGERED: "every second one half an iteration later"}
_MARKER = 2.8
_HOLLOW: dict[str, Any] = {"marker": "o", "markerfacecolor": "white", "markeredgewidth": 0.7}
_NOTE = (
    "A line for each GPU, the first one's on top, from simulated (by its own trace and profile, on the measured host) "
    "to measured."
)


def together_figure(found: Sequence[Predicted], path: Path | str | None = None) -> tuple[Axes, ...]:
    """Draw how much longer than alone iterations take that begin with those of other GPUs: a row for each case, in it a
    line for each start and GPU, from simulated to measured.

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
    groups = [(name, len(list(own))) for name, own in groupby(f"{name} ({n}), {math}" for name, n, math, _ in cases)]
    lanes = len(_STARTS) * (1 + max((one.record.gpu for one in found), default=0))
    rows_in = min(_MOST_IN, max(_ROW_IN, _LANE_IN * lanes / _LANES)) * max(_ROWS, len(cases))
    figure = page.new_figure(page.TOP_IN + rows_in + page.BOTTOM_IN)
    groups_in, policies_in = (
        _GAP_IN + max(page.text_width_in(figure, name) for name in names)
        for names in ([name for name, _ in groups], [policy for *_, policy in cases])
    )
    left_in = page.MARGIN_IN + groups_in + policies_in
    width_in = page.WIDTH_IN - left_in - _GAP_IN
    axes = page.add_axes(figure, left_in, page.BOTTOM_IN, width_in, rows_in)
    axes.set_ylim(len(cases) - 0.5, -0.5)
    _draw_lines(axes, found, cases, lanes)
    axes.set_yticks(range(len(cases)), [policy for *_, policy in cases])
    axes.tick_params(axis="y", length=0, labelsize=page.TEXT_SIZE)
    first = 0
    for name, rows in groups:
        edge = -(left_in - page.MARGIN_IN) / width_in
        page.write_beside(
            axes, name, edge, first, coords=axes.get_yaxis_transform(), shift_pt=(0, 0), size=page.TEXT_SIZE
        )
        if first:
            axes.plot(
                [edge, 1], [first - 0.5] * 2, color=looks.FAINT, linewidth=0.4,
                transform=axes.get_yaxis_transform(), clip_on=False,
            )  # fmt: skip
        first += rows
    axes.axvline(0, color=looks.INK, linewidth=0.6, zorder=0.6)
    axes.grid(axis="x", color=looks.GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("longer than alone (%)")
    page.dress(figure, title, _legend(any(not one.record.told for one in found)), _NOTE)
    return figure


def _draw_lines(axes: Axes, found: Sequence[Predicted], cases: Sequence[tuple[str, int, str, str]], lanes: int) -> None:
    alone = {(one.record.case, one.record.gpu): one for one in found if one.record.start == Start.ALONE}
    for number, start in enumerate(_STARTS):
        for one in found:
            record = one.record
            by_itself = alone.get((record.case, record.gpu))
            if record.start != start or by_itself is None:
                continue
            lane = (number * lanes // len(_STARTS) + record.gpu + 0.5) / lanes - 0.5
            place = cases.index(record.case) + _LANES * lane
            measured = 100 * (record.measured_ns / by_itself.record.measured_ns - 1)
            simulated = 100 * (one.simulated_ns / by_itself.simulated_ns - 1)
            look: dict[str, Any] = {"color": looks.START_COLOURS[start], "markersize": _MARKER, "linewidth": 0.6}
            axes.plot([simulated, measured], [place, place], zorder=2, **look)
            axes.plot([simulated], [place], zorder=3, **look | _HOLLOW)
            axes.plot([measured], [place], "o" if record.told else "x", zorder=4, **look)


def _legend(crosses: bool) -> list[Line2D]:
    look: dict[str, Any] = {"linestyle": "", "markersize": _MARKER}
    marks = [
        Line2D([], [], color=looks.START_COLOURS[start], label=name, linewidth=1.4) for start, name in _STARTS.items()
    ]
    marks.append(Line2D([], [], marker="o", color=looks.INK, label="measured", **look))
    if crosses:
        marks.append(Line2D([], [], marker="x", color=looks.INK, label="measured, cannot be told", **look))
    return [*marks, Line2D([], [], color=looks.INK, label="simulated", **look | _HOLLOW)]
