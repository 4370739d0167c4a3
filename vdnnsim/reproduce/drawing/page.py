"""One figure on its page: heading, legend, axes, and below them the caption with where the numbers are from."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from vdnnsim.gpu import GpuProfile
from vdnnsim.report.figure.style import (
    FAINT,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH_IN,
    add_axes,
    new_figure,
    write_figure,
)
from vdnnsim.reproduce.bars import BandedBar, weakest_of
from vdnnsim.reproduce.config import FigureConfig
from vdnnsim.reproduce.drawing.bar_chart import BarChart, limit_handle
from vdnnsim.reproduce.drawing.spans import draw_spans
from vdnnsim.trace import Provenance

_LEFT_IN, _RIGHT_IN, _SIDE_IN = 0.5, 0.5, 0.08
_TOP_IN, _LEGEND_ROW_IN = 0.24, 0.16
_PANEL_IN = 1.75
_TALL_IN = 2.3
_PANEL_GAP_IN = 0.75
_NOTE_CHARACTERS = 150
_NOTE_LINE_IN = 0.105
STAR, HOLLOW_STAR = "★", "☆"


def draw_figure(config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile, paths: Sequence[Path]) -> None:
    """Draw a figure and write it to each path, whole or not at all. Raises `InvalidInput` where that cannot be."""
    title = f"{config.heading} on {gpu.name}"
    note = note_of(config, bars, gpu)
    write_figure(paths, title, note, lambda: compose(config, bars, gpu, note))


def note_of(config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile) -> str:
    """What must be known to read the figure: its caption, its marks, and the label of its numbers."""
    parts = [config.file.caption]
    if any(not banded.bar.trains for banded in bars):
        parts.append(f"{STAR} does not train: shown as it would run if the memory had room.")
    if any(_sometimes(banded) for banded in bars):
        parts.append(f"{HOLLOW_STAR} trains, but not with every trace of the band.")
    samples = sorted({banded.samples for banded in bars if banded.samples})
    if samples and any(banded.high > banded.low for banded in bars):
        count = " or ".join(map(str, samples))
        parts.append(f"Lines: range over {count} traces moved within the spread of their fits.")
    vgg = next((case for case in config.cases if case.title == "VGG-16"), None)
    if vgg:
        parts.append(f"VGG-16 is the built-in {vgg.network}.")
    parts.append(f"{gpu.name}, {gpu.capacity_bytes / 1e9:.2f} GB. Provenance: {_provenance(bars)}.")
    return " ".join(parts)


def _provenance(bars: Sequence[BandedBar]) -> str:
    """The label of all bars, or the cases that have each label."""
    by_case = {case: weakest_of([banded for banded in bars if banded.case == case]).value for case in _cases(bars)}
    labels = [label.value for label in Provenance if label.value in by_case.values()]
    if len(labels) == 1:
        return labels[0]
    return "; ".join(
        f"{label} for {', '.join(case for case, found in by_case.items() if found == label)}" for label in labels
    )


def _cases(bars: Sequence[BandedBar]) -> list[str]:
    return list(dict.fromkeys(banded.case for banded in bars))


def _sometimes(banded: BandedBar) -> bool:
    return banded.bar.trains and banded.trains_in < 1


def compose(config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile, note: str) -> Figure:
    """The figure with its note, not yet written."""
    for star in (STAR, HOLLOW_STAR):
        note = note.replace(f"{star} ", f"{star}\N{NO-BREAK SPACE}")  # a mark stays with what it means
    lines = textwrap.wrap(note, _NOTE_CHARACTERS, break_on_hyphens=False)
    note_in = 0.06 + _NOTE_LINE_IN * len(lines)
    if config.file.measure == "overlap":
        return _with_texts(config, gpu, lines, *draw_spans(config, bars, note_in, _TOP_IN))
    charts = _panels(config, bars, gpu)
    labels_in = max(chart.labels_in for chart in charts)
    legend_in = _LEGEND_ROW_IN * charts[0].legend_rows
    stacked = not config.file.panels and len(charts) > 1
    rows = len(charts) if stacked else 1
    panel_in = _TALL_IN if config.file.parts == "overlay" else _PANEL_IN
    row_in = panel_in + labels_in
    height_in = _TOP_IN + legend_in + rows * row_in + (rows - 1) * 0.1 + note_in
    figure = new_figure(height_in)
    right_in = _RIGHT_IN if config.file.right else _SIDE_IN
    if stacked:
        for row, chart in enumerate(charts):
            bottom_in = height_in - _TOP_IN - legend_in - row * (row_in + 0.1) - panel_in
            axes = add_axes(figure, _LEFT_IN, bottom_in, WIDTH_IN - _LEFT_IN - right_in, panel_in - 0.06)
            chart.draw(axes, first=True, last=True)
    else:
        gap_in = _PANEL_GAP_IN if config.file.right else 0.45
        room_in = WIDTH_IN - _LEFT_IN - right_in - (len(charts) - 1) * gap_in
        total = sum(chart.count for chart in charts)
        left_in = _LEFT_IN
        for index, chart in enumerate(charts):
            width_in = room_in * chart.count / total
            axes = add_axes(figure, left_in, note_in + labels_in, width_in, panel_in - 0.06)
            chart.draw(axes, first=index == 0, last=index == len(charts) - 1)
            left_in += width_in + gap_in
    handles = charts[0].legend()
    limit = next((chart.limit for chart in charts if chart.limit), "")
    if limit:
        handles.append(limit_handle(limit))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - _TOP_IN / height_in + 0.02 / height_in),
        ncols=-(-len(handles) // charts[0].legend_rows),
        columnspacing=1.1,
        handlelength=1.2,
        handletextpad=0.5,
        borderaxespad=0.2,
    )
    return _with_texts(config, gpu, lines, figure, height_in)


def _panels(config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile) -> list[BarChart]:
    """One chart for each stated panel of groups, or one for each case of a figure by layers, or one for all."""
    shown = [banded for banded in bars if banded.bar.axis != "table"]
    groups = list(dict.fromkeys((banded.case, banded.bar.group) for banded in shown))
    cases = list(dict.fromkeys(case for case, _ in groups))
    by_layer = any(case != group for case, group in groups)
    if config.file.panels:
        ends = [sum(config.file.panels[: index + 1]) for index in range(len(config.file.panels))]
        wanted = [groups[begin:end] for begin, end in zip([0, *ends], ends, strict=False) if groups[begin:end]]
    elif by_layer:
        wanted = [[group for group in groups if group[0] == case] for case in cases]
    else:
        wanted = [groups]
    return [
        BarChart(config, [banded for banded in shown if (banded.case, banded.bar.group) in chosen], gpu, by_layer)
        for chosen in wanted
    ]


def _with_texts(config: FigureConfig, gpu: GpuProfile, lines: list[str], figure: Figure, height_in: float) -> Figure:
    _write(
        figure, _SIDE_IN, height_in - 0.06, config.heading, weight="bold", va="top", size=TEXT_SIZE + 1
    )  # fmt: skip
    _write(figure, WIDTH_IN - _SIDE_IN, height_in - 0.07, gpu.name, va="top", ha="right", size=TEXT_SIZE, color=FAINT)
    for index, line in enumerate(reversed(lines)):
        _write(figure, _SIDE_IN, 0.04 + index * _NOTE_LINE_IN, line, size=SMALL_SIZE, color=FAINT, va="bottom")
    return figure


def _write(figure: Figure, x_in: float, y_in: float, text: str, **options: Any) -> None:
    """Text at a place in inches from the lower left."""
    width, height = figure.get_size_inches()
    figure.text(x_in / width, y_in / height, text, **options)
