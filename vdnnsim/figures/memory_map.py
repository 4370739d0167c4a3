"""The map of one run's memory: addresses over time, a rectangle for each block, as wide as a column of a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from vdnnsim.figures import looks, page, saving
from vdnnsim.figures.looks import FAINT, HATCH, INK, LIMIT, LIMIT_LINE, SHADE
from vdnnsim.memory import CachingPool
from vdnnsim.report.blocks import Block, Packed, blocks_of, end_of_changes_ns, packed_addresses, unplaced
from vdnnsim.report.levels import memory_levels
from vdnnsim.report.words import byte_unit, provenance, subject
from vdnnsim.results import Comparison, PolicyRun
from vdnnsim.timeline import SETUP
from vdnnsim.units import format_bytes, format_ms

COLUMN_IN = 3.5
_LEFT_IN = 0.5
_RIGHT_IN = 0.12
_MAP_IN = 2.3
_LINE_IN = (page.SMALL_SIZE + 2) / 72
_LEGEND_COLUMNS = 2
_LEGEND_LINE_IN = 0.128
_DOT_IN = 1 / page.DPI
_EDGED_IN = 0.03
"""Blocks of this width and height are told from their neighbours by a thin white edge."""
_PEAK: Mapping[str, Any] = {"color": INK, "linewidth": 0.7, "linestyle": "-"}
_BACKWARD: Mapping[str, Any] = {"color": INK, "linewidth": 0.6, "linestyle": (0, (1, 1.5))}


def memory_map(run: PolicyRun, comparison: Comparison, path: Path | str | None = None) -> tuple[Axes, ...]:
    """Draw where every block of one iteration lay in the pool and how long: time to the right, addresses upwards, a
    rectangle for each block in the colour of its class, free addresses grey; with the capacity, the moment at which
    most bytes were in use, and of a policy that does not train the block that found no room.

    Returns its axes. It is written where there is a `path`, whose suffix says the format. Raises `InvalidInput` for
    another suffix than PNG's, PDF's or SVG's, and where the file cannot be written.
    """
    return saving.comparison_axes(comparison, path, lambda: _draw(run, comparison))


def _draw(run: PolicyRun, comparison: Comparison) -> Figure:
    blocks = blocks_of(run)
    packed = packed_addresses(blocks, comparison)
    colours = looks.class_colours(dict.fromkeys(chain(run.result.bytes_by_class_at_peak, _classes(blocks))))
    used = {name: colour for name, colour in colours.items() if name in _classes(blocks)}
    end_ns = end_of_changes_ns(run)
    unit, scale = page.time_unit(end_ns)
    size_unit, unit_bytes = byte_unit(packed.size_bytes)
    far = comparison.capacity_bytes > page.FAR * packed.size_bytes
    top_bytes = 1.04 * max(1, packed.size_bytes, 0 if far else comparison.capacity_bytes)
    handles: list[Patch | Line2D] = [*page.class_handles(used), Patch(facecolor=SHADE, edgecolor=HATCH, label="free")]
    heading, note = _lines(subject(comparison)), _note(run, comparison, packed)
    bottom_in = 0.4 + _LINE_IN * len(note)
    marks = 2 + any(step.backward for step in run.steps) + (unplaced(run, blocks) is not None)
    legend_lines = -(-(len(handles) + marks) // _LEGEND_COLUMNS)
    top_in = 0.34 + _LINE_IN * len(heading) + _LEGEND_LINE_IN * legend_lines
    figure = page.new_figure(bottom_in + _MAP_IN + top_in, COLUMN_IN)
    figure.set_dpi(page.DPI)  # letters are not equally wide at every resolution
    axes = page.add_axes(figure, _LEFT_IN, bottom_in, COLUMN_IN - _LEFT_IN - _RIGHT_IN, _MAP_IN)
    axes.set_xlim(0, end_ns * scale)
    axes.set_ylim(0, top_bytes / unit_bytes)
    _draw_blocks(axes, blocks, packed, used, scale, unit_bytes)
    handles += [_peak(axes, run, scale), _capacity(axes, comparison, far, unit_bytes)]
    handles += [*_backward(axes, run, scale), *_no_room(axes, run, blocks, packed, scale, unit_bytes)]
    axes.set_xlabel(f"time ({unit})")
    axes.set_ylabel(f"address ({size_unit})")
    _dress(figure, run.result.policy, heading, handles, note)
    return figure


def _classes(blocks: Sequence[Block]) -> dict[str, None]:
    return dict.fromkeys(block.memory_class for block in blocks)


def _note(run: PolicyRun, comparison: Comparison, packed: Packed) -> list[str]:
    """What is to be said below."""
    told = [provenance(comparison)]
    if len(packed.stretches) > 1:
        told.append(f"Addresses that the run never used are left out, between {len(packed.stretches)} stretches")
    if comparison.pool == CachingPool.name:
        told.append("The capacity bounds what is held together, not addresses")
    if comparison.captured:
        told.append("Blocks come and go as the host calls for it, ahead of the kernels")
    if end_of_changes_ns(run) < run.timeline.iteration_time_ns:
        told.append(f"From its edge to the end, at {format_ms(run.timeline.iteration_time_ns)}, nothing changes")
    if not run.result.trainable:
        told.append("This policy does not train here: shown as it would run if the memory had room")
    return _lines(". ".join(told))


def _lines(text: str) -> list[str]:
    return page.wrapped(text, COLUMN_IN - 2 * page.MARGIN_IN, page.SMALL_SIZE).splitlines()


def _draw_blocks(
    axes: Axes, blocks: Sequence[Block], packed: Packed, colours: dict[str, str], scale: float, unit_bytes: int
) -> None:
    """All blocks, as one collection, the longest-lived first; none is smaller than a dot. Behind them what is free."""
    axes.axhspan(0, packed.size_bytes / unit_bytes, color=SHADE, linewidth=0, zorder=1)
    for start in packed.starts_bytes()[1:]:
        axes.axhline(start / unit_bytes, color=HATCH, linewidth=0.3, zorder=3)
    shown = sorted(blocks, key=lambda block: block.begin_ns - block.end_ns)
    width_in, height_in = (COLUMN_IN - _LEFT_IN - _RIGHT_IN), _MAP_IN
    dot = np.array([axes.get_xlim()[1] / width_in, axes.get_ylim()[1] / height_in]) * _DOT_IN
    sizes = np.array([(block.end_ns - block.begin_ns, block.end - block.address) for block in shown], dtype=float)
    sizes = np.maximum(sizes.reshape(-1, 2) * (scale, 1 / unit_bytes), dot)
    corners = np.array([block.begin_ns for block in shown], dtype=float) * scale
    lows = np.array(packed.place_bytes([block.address for block in shown]), dtype=float) / unit_bytes
    begins = np.stack([corners, lows], axis=1)
    ends = begins + sizes
    rectangles: Any = np.stack(
        [begins, np.stack([ends[:, 0], lows], axis=1), ends, np.stack([corners, ends[:, 1]], axis=1)], axis=1
    )
    edged = (sizes > dot * (_EDGED_IN / _DOT_IN)).all(axis=1)
    faces = [colours[block.memory_class] for block in shown]
    axes.add_collection(
        PolyCollection(rectangles, facecolors=faces, edgecolors="white", linewidths=np.where(edged, 0.3, 0), zorder=2),
        autolim=False,
    )


def _peak(axes: Axes, run: PolicyRun, scale: float) -> Line2D:
    """When most bytes were in use, as asked for."""
    levels = memory_levels(run.timeline.memory, tuple(run.result.bytes_by_class_at_peak))
    at = max(levels, key=lambda level: sum(level.bytes_by_class)).time_ns * scale if levels else 0
    axes.axvline(at, zorder=4, **_PEAK)
    axes.plot([at], [1.02], marker="v", markersize=3.5, color=INK, transform=axes.get_xaxis_transform(), clip_on=False)
    return Line2D([], [], marker="v", markersize=3.5, label=f"peak {format_bytes(run.result.peak_bytes)}", **_PEAK)


def _capacity(axes: Axes, comparison: Comparison, far: bool, unit_bytes: int) -> Line2D:
    label = f"capacity {format_bytes(comparison.capacity_bytes)}"
    if far:
        return Line2D([], [], label=f"{label}, above", **LIMIT_LINE)
    axes.axhline(comparison.capacity_bytes / unit_bytes, zorder=4, **LIMIT_LINE)
    return Line2D([], [], label=label, **LIMIT_LINE)


def _backward(axes: Axes, run: PolicyRun, scale: float) -> list[Line2D]:
    """When backward takes or gives back its first block, or where it takes none begins."""
    begins_ns = next((step.begin_ns for step in run.steps if step.backward), None)
    if begins_ns is None:
        return []
    calls = (record for record in run.timeline.memory if record.step != SETUP and run.steps[record.step].backward)
    begins_ns = next((record.time_ns for record in calls), begins_ns)
    axes.axvline(begins_ns * scale, zorder=4, **_BACKWARD)
    return [Line2D([], [], label="backward begins", **_BACKWARD)]


def _no_room(
    axes: Axes, run: PolicyRun, blocks: Sequence[Block], packed: Packed, scale: float, unit_bytes: int
) -> list[Line2D]:
    """The block that found no room, edged, and a cross where it was asked for."""
    block = unplaced(run, blocks)
    if block is None:
        return []
    [low] = packed.place_bytes([block.address])
    begin, height = block.begin_ns * scale, (block.end - block.address) / unit_bytes
    corner, width = (begin, low / unit_bytes), (block.end_ns - block.begin_ns) * scale
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=LIMIT, linewidth=1, zorder=5))
    cross: dict[str, Any] = {
        "color": LIMIT,
        "marker": "X",
        "markersize": 5.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }
    axes.plot([begin], [corner[1] + height / 2], zorder=6, clip_on=False, linestyle="", **cross)
    return [Line2D([], [], linestyle="", label=f"out of memory: no room for {format_bytes(block.size_bytes)}", **cross)]


def _dress(
    figure: Figure, title: str, heading: Sequence[str], handles: Sequence[Patch | Line2D], note: Sequence[str]
) -> None:
    """What stands above and below: too narrow for lines as those of the other figures."""
    height_in = figure.get_size_inches()[1]
    page.place_line(figure, height_in - 0.07, title, weight="bold", va="top", size=page.TEXT_SIZE + 1)
    lines_in = height_in - 0.22
    for number, line in enumerate(heading):
        page.place_line(figure, lines_in - number * _LINE_IN, line, size=page.SMALL_SIZE, va="top")
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(page.MARGIN_IN / COLUMN_IN, 1 - (height_in - lines_in + _LINE_IN * len(heading)) / height_in),
        ncols=_LEGEND_COLUMNS,
        columnspacing=1.2,
        handlelength=1.6,
        handletextpad=0.5,
        labelspacing=0.25,
        borderaxespad=0,
        borderpad=0.2,
        fontsize=page.SMALL_SIZE + 0.5,
    )
    bottom: dict[str, Any] = {"size": page.SMALL_SIZE, "color": FAINT, "va": "bottom", "linespacing": 1.25}
    page.place_text(figure, page.MARGIN_IN, 0.05, "\n".join(note), **bottom)
