"""The figure of one run: memory over time, and below it what each engine did."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdnnsim.figures import looks, page, saving
from vdnnsim.figures.lanes import COARSER, DOTS, LANE_IN, draw_lanes
from vdnnsim.figures.looks import INK, LIMIT_LINE
from vdnnsim.metrics.loss import LOSS_WORDS, Loss
from vdnnsim.report.lanes import lanes_of
from vdnnsim.report.levels import Level, memory_levels
from vdnnsim.report.words import byte_unit, provenance, shortened, subject
from vdnnsim.results import Comparison, PolicyResult, PolicyRun
from vdnnsim.units import format_bytes

_LEFT_IN = 0.68
_LANES_IN = 0.95
_GAP_IN = 0.12
_MEMORY_IN = 1.95
_LINE_PT = page.SMALL_SIZE + 2.5
_LINE_IN = _LINE_PT / 72


def run_figure(run: PolicyRun, comparison: Comparison, path: Path | str | None = None) -> tuple[Axes, ...]:
    """Draw a figure of one iteration: bytes in use by class over time with the capacity, and below it, on the same
    time axis, when the engines were busy and when they stalled.

    Returns the axes of the engines and of the bytes. It is written where there is a `path`, whose suffix says the
    format. Raises `InvalidInput` for another suffix than PNG's, PDF's or SVG's, and where
    the file cannot be written.
    """
    return saving.comparison_axes(comparison, path, lambda: _draw(run, comparison))


def _draw(run: PolicyRun, comparison: Comparison) -> Figure:
    lanes_bottom_in = page.BOTTOM_IN + _LINE_IN
    memory_bottom_in = lanes_bottom_in + _LANES_IN + _GAP_IN
    figure = page.new_figure(memory_bottom_in + _MEMORY_IN + page.TOP_IN)
    lanes = page.add_axes(figure, _LEFT_IN, lanes_bottom_in, LANE_IN, _LANES_IN)
    memory = page.add_axes(figure, _LEFT_IN, memory_bottom_in, LANE_IN, _MEMORY_IN)
    end_ns = max(1, run.timeline.iteration_time_ns)
    unit, scale = page.time_unit(end_ns)
    colours = _draw_memory(memory, run, comparison, end_ns, scale)
    draw_lanes(lanes, lanes_of(run.timeline), end_ns, scale)
    _draw_boundary(memory, lanes, run, scale)
    for axes in (memory, lanes):
        axes.set_xlim(0, end_ns * scale)
    memory.tick_params(labelbottom=False)
    lanes.set_xlabel(f"time ({unit})")
    note = "\n".join(part for part in (_loss(run.result.loss), provenance(comparison)) if part)
    if not run.result.trainable:
        note += ". This policy does not train here: shown as it would run if the memory had room"
    title = f"{shortened(run.result.policy, 24)}: {subject(comparison)}"
    page.dress(figure, title, page.class_handles(colours), note)
    return figure


def _loss(loss: Loss) -> str:
    """What the iteration takes longer than the oracle's, the largest part first."""
    unit, scale = page.time_unit(loss.total_ns)
    parts = sorted(zip(loss, loss._fields, strict=True), key=lambda part: -abs(part[0]))
    words = [f"{LOSS_WORDS[name]} {part_ns * scale:.1f}" for part_ns, name in parts if round(part_ns * scale, 1)]
    if not words:
        return ""
    return f"Longer than the oracle's by {loss.total_ns * scale:.1f} {unit}: {', '.join(words)}"


def _draw_memory(axes: Axes, run: PolicyRun, comparison: Comparison, end_ns: int, scale: float) -> dict[str, str]:
    """The areas, the lines and their labels at the right; returns the colours of the classes there are."""
    result = run.result
    every_class = list(result.bytes_by_class_at_peak)
    levels = memory_levels(run.timeline.memory, every_class)
    used = [name for place, name in enumerate(every_class) if any(level.bytes_by_class[place] for level in levels)]
    colours = looks.class_colours(used)
    shown = most_per_dot(levels, end_ns, DOTS if len(levels) < DOTS else DOTS // COARSER)
    times = np.array([level.time_ns * scale for level in shown])
    unit, unit_bytes = byte_unit(result.peak_bytes)
    heights = np.array([level.bytes_by_class for level in shown]) / unit_bytes
    base = np.zeros(len(times))
    for place, name in enumerate(every_class):
        if name in colours:
            top = base + heights[:, place]
            axes.fill_between(times, base, top, step="post", color=colours[name], linewidth=0, zorder=2)
            base = top
    _draw_limits(axes, result, comparison.capacity_bytes, unit_bytes)
    axes.set_ylabel(f"memory in use ({unit})")
    axes.grid(axis="y", color=looks.GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    return colours


class _Limit(NamedTuple):
    """A height worth a label, and the line that marks it, if any."""

    size_bytes: int
    label: str
    line: Mapping[str, Any] | None


_PEAK_LINE: Mapping[str, Any] = MappingProxyType({"color": INK, "linewidth": 0.6, "linestyle": "-"})
_AVERAGE_LINE: Mapping[str, Any] = MappingProxyType({"color": INK, "linewidth": 0.9, "linestyle": ":"})


def _draw_limits(axes: Axes, result: PolicyResult, capacity_bytes: int, unit_bytes: int) -> None:
    """The peak, the average and the capacity as lines, with labels at the right, moved apart where they would
    overlap."""
    far = capacity_bytes > page.FAR * result.peak_bytes
    top_bytes = round(1.06 * max(1, result.peak_bytes if far else max(result.peak_bytes, capacity_bytes)))
    axes.set_ylim(0, top_bytes / unit_bytes)
    capacity = f"capacity {format_bytes(capacity_bytes)}"
    limits = [
        _Limit(result.peak_bytes, f"peak {format_bytes(result.peak_bytes)}", _PEAK_LINE),
        _Limit(result.average_bytes, f"average {format_bytes(result.average_bytes)}", _AVERAGE_LINE),
        _Limit(top_bytes, f"{capacity} ↑", None) if far else _Limit(capacity_bytes, capacity, LIMIT_LINE),
    ]
    lowest_pt = 0.0
    for size_bytes, label, line in sorted(limits, key=lambda limit: limit[:2]):
        height = size_bytes / unit_bytes
        if line:
            axes.axhline(height, zorder=3, **line)
        height_pt = size_bytes / top_bytes * _MEMORY_IN * 72
        lowest_pt = max(height_pt, lowest_pt)
        _write_right(axes, label, height, (line or LIMIT_LINE)["color"], lift_pt=lowest_pt - height_pt)
        lowest_pt += _LINE_PT


def _write_right(axes: Axes, text: str, y: float, colour: str, lift_pt: float = 0) -> None:
    page.write_beside(axes, text, 1, y, coords=("axes fraction", "data"), shift_pt=(4, lift_pt), color=colour)


def most_per_dot(levels: Sequence[Level], end_ns: int, dots: int) -> list[Level]:
    """The levels as the page can show them: for each of `dots` equal parts of the time the one with most bytes in it,
    so that no peak is too narrow to be seen, less repetitions; with the last one once more at the end."""
    times_ns = [level.time_ns for level in levels]
    edges_ns = [dot * end_ns // dots for dot in range(dots + 1)]
    shown: list[Level] = []
    for begin_ns, stop_ns in pairwise(edges_ns):
        first = max(0, bisect_right(times_ns, begin_ns) - 1)
        last = max(first + 1, bisect_left(times_ns, stop_ns))
        most = max(levels[first:last], key=lambda level: sum(level.bytes_by_class))
        if not shown or shown[-1].bytes_by_class != most.bytes_by_class:
            shown.append(Level(begin_ns, most.bytes_by_class))
    return [*shown, Level(end_ns, shown[-1].bytes_by_class)]


def _draw_boundary(memory: Axes, lanes: Axes, run: PolicyRun, scale: float) -> None:
    """Where backward begins."""
    begins_ns = next((step.begin_ns for step in run.steps if step.backward), None)
    if begins_ns is None:
        return
    for axes in (memory, lanes):
        axes.axvline(begins_ns * scale, color=INK, linewidth=0.6, linestyle=(0, (1, 1.5)), zorder=4)
    for text, align, shift_pt in (("forward", "right", -3), ("backward", "left", 3)):
        coords, shift = ("data", "axes fraction"), (shift_pt, 2)
        page.write_beside(memory, text, begins_ns * scale, 1, coords=coords, shift_pt=shift, ha=align, va="bottom")
