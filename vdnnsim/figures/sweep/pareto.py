"""Time against memory: every point that trains, the front of those that nothing beats in both, and its knee."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdnnsim.figures.looks import INK, LIMIT, Look, policy_looks
from vdnnsim.figures.page import SMALL_SIZE
from vdnnsim.figures.sweep.panels import grid, legend_lines, number_axis, panel_grid, say_empty
from vdnnsim.figures.sweep.scales import Ruler
from vdnnsim.figures.sweep.view import View, words

_MOST_POINTS = 4000
_HEADROOM = 1.16
"""The share of the range of times that the axis goes up to: above the points stand the knee's words."""
_LEFT_IN = 0.6
"""Room for times of five digits."""
_MOST_TO_SCALE = 4
"""Times that differ by more than this factor are drawn by factors."""


def draw_pareto(view: View, title: str) -> Figure:
    """Memory is what the pool needed, time is one iteration."""
    panels = view.panels([])
    styles = policy_looks(name for name in view.policies() if name != "oracle")
    notes = ["memory: what the pool needed; the knee lies farthest below the line between the ends"]
    if others := [name for name in view.others([]) if name != "compute_scale"]:
        notes.append(f"points differ in {', '.join(f'{words(name)} ({view.values(name)})' for name in others)}")
    if "compute_scale" in view.varied:
        notes.append(
            f"kernels of several speeds ({view.values('compute_scale')}) are mixed: faster ones are other GPUs"
        )
    footer = view.footer([], *notes, best=False)
    figure, all_axes = panel_grid(
        title,
        [text for text, _ in panels],
        footer,
        legend_lines(styles, lines=False),
        height_in=2.0,
        left_in=_LEFT_IN,
        gap_in=0.55,
    )
    for axes, (_, rows) in zip(all_axes, panels, strict=True):
        _draw(axes, rows[rows["policy"] != "oracle"], styles)
        axes.set_xlabel("device memory (GB)")
        axes.tick_params(labelleft=True)
    all_axes[0].set_ylabel("iteration time (ms)")
    return figure


def _draw(axes: Axes, rows: pd.DataFrame, styles: dict[str, Look]) -> None:
    grid(axes)
    if not len(rows):
        say_empty(axes)
        return
    rows = rows[rows["trainable"].astype(bool)]
    if not len(rows):
        axes.text(0.5, 0.5, "nothing fits", transform=axes.transAxes, ha="center", fontsize=SMALL_SIZE)
        return
    memory = rows["pool_high_water_bytes"].to_numpy(float) / 1e9
    time = rows["iteration_time_ns"].to_numpy(float) / 1e6
    for name, look in styles.items():
        own = (rows["policy"] == name).to_numpy()
        places = pd.DataFrame({"x": memory[own], "y": time[own]}).drop_duplicates()
        if len(places) > _MOST_POINTS:
            places = places.sample(_MOST_POINTS, random_state=0)
        style: dict[str, Any] = {"markersize": 2.6, "alpha": 0.6, "markeredgewidth": 0.5, "markerfacecolor": look.face}
        axes.plot(places["x"], places["y"], look.marker, color=look.colour, **style)
    points = list(zip(memory, time, strict=True))
    front = [points[index] for index in pareto_front(points)]
    axes.plot(*zip(*front, strict=True), color=INK, linewidth=0.9, drawstyle="steps-post", zorder=3)
    logarithmic = max(time) > _MOST_TO_SCALE * min(time)
    bend = knee(front)
    if bend is not None:
        x, y = front[bend]
        ring: dict[str, Any] = {
            "markersize": 7,
            "markerfacecolor": "none",
            "markeredgecolor": LIMIT,
            "markeredgewidth": 1.1,
        }
        axes.plot([x], [y], "o", zorder=4, **ring)
        words = f"knee: {x:.3g} GB, {_three_digits(y)} ms"
        axes.text(0.99, 0.98, words, transform=axes.transAxes, ha="right", va="top", fontsize=SMALL_SIZE, color=LIMIT)
    low, high = (min(time) / 1.1, max(time)) if logarithmic else (0.0, max(time))
    axes.set_ylim(low, Ruler(low, high, logarithmic).at(_HEADROOM))
    number_axis(axes, "y", logarithmic)


def _three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other beats in both numbers, by rising first number; of equal ones the first."""
    order = sorted(range(len(points)), key=lambda index: (*points[index], index))
    front: list[int] = []
    least = float("inf")
    for index in order:
        if points[index][1] < least:
            least = points[index][1]
            front.append(index)
    return front


def knee(front: Sequence[tuple[float, float]]) -> int | None:
    """The point of a front that lies farthest below the line between its ends, both numbers scaled to the front's
    range: beyond it, less of one costs much of the other. None where no point lies below it."""
    if len(front) < 3:
        return None
    (left, top), (right, bottom) = front[0], front[-1]
    depths = [1 - (x - left) / (right - left) - (y - bottom) / (top - bottom) for x, y in front]
    deepest = max(range(len(front)), key=depths.__getitem__)
    return deepest if depths[deepest] > 0 else None
