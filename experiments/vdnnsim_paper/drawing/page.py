"""One figure on its page: heading, legend, axes, and below them the caption with where the numbers are from."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from vdnnsim import GpuProfile, Provenance
from vdnnsim.figures import (
    FAINT,
    MARGIN_IN,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH_IN,
    add_axes,
    new_figure,
    place_text,
    text_width_in,
    write_figure,
)
from vdnnsim_paper.bars import BandedBar, Stated, weakest_of
from vdnnsim_paper.config import FigureConfig
from vdnnsim_paper.drawing.bar_chart import BarChart
from vdnnsim_paper.drawing.marks import HANDLE_IN, Handle, place_legend
from vdnnsim_paper.drawing.spans import draw_spans

_LEFT_IN, _RIGHT_IN, _SIDE_IN = 0.5, 0.5, MARGIN_IN
_TOP_IN, _LEGEND_ROW_IN = 0.24, 0.16
_PANEL_IN = 1.75
_TALL_IN = 2.3
_PANEL_GAP_IN = 1.0
_ROW_GAP_IN = 0.08
_NOTE_CHARACTERS = 150
_NOTE_LINE_IN = 0.105
STAR, HOLLOW_STAR = "★", "☆"
_SOURCES = {"abstract": "as its abstract states", "second-hand": "second-hand"}
_NUMBER_AND_UNIT = re.compile(r"(?<=\d) (?=GB|%|ms)")


def draw_figure(
    config: FigureConfig,
    bars: Sequence[BandedBar],
    gpu: GpuProfile,
    paths: Sequence[Path],
    stated: Sequence[Stated] = (),
) -> None:
    """Draw a figure, with what the paper states of its bars, and write it to each path, whole or not at all. Raises
    `InvalidInput` where that cannot be."""
    title = f"{config.heading} on {gpu.name}"
    note = note_of(config, bars, gpu, stated)
    write_figure(paths, title, note, lambda: compose(config, bars, gpu, note, stated))


def note_of(config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile, stated: Sequence[Stated] = ()) -> str:
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
    if stated:
        parts.append(f"Paper: its values on a Titan\N{NO-BREAK SPACE}X, {_sources(stated)}.")
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


def _sources(stated: Sequence[Stated]) -> str:
    """How sure the paper's values are; by case where that differs."""
    by_mark = {mark: [value.case for value in stated if value.mark == mark] for mark in _SOURCES}
    said = {_SOURCES[mark]: cases for mark, cases in by_mark.items() if cases}
    if len(said) == 1:
        return next(iter(said))
    return ", ".join(f"{source} for {', '.join(cases)}" for source, cases in said.items())


def _cases(bars: Sequence[BandedBar]) -> list[str]:
    return list(dict.fromkeys(banded.case for banded in bars))


def _sometimes(banded: BandedBar) -> bool:
    return banded.bar.trains and banded.trains_in < 1


def compose(
    config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile, note: str, stated: Sequence[Stated] = ()
) -> Figure:
    """The figure with its note, not yet written."""
    for star in (STAR, HOLLOW_STAR):
        note = note.replace(f"{star} ", f"{star}\N{NO-BREAK SPACE}")  # a mark stays with what it means
    note = _NUMBER_AND_UNIT.sub("\N{NO-BREAK SPACE}", note)
    lines = textwrap.wrap(note, _NOTE_CHARACTERS, break_on_hyphens=False)
    note_in = 0.06 + _NOTE_LINE_IN * len(lines)
    if config.file.measure == "overlap":
        return _with_texts(config, gpu, lines, *draw_spans(config, bars, note_in, _TOP_IN))
    charts = _panels(config, bars, gpu, stated)
    legend = _legend(charts)
    legend_in = _LEGEND_ROW_IN * len(legend)
    panel_in = _TALL_IN if config.file.parts == "overlay" else _PANEL_IN
    across = bool(config.file.panels)
    name_in = max(chart.name_in for chart in charts)
    labels_in = [chart.labels_in for chart in charts]
    if across:
        labels_in = [max(labels_in)]
    rows_in = [name_in + panel_in + below_in for below_in in labels_in]
    height_in = _TOP_IN + legend_in + sum(rows_in) + (len(rows_in) - 1) * _ROW_GAP_IN + note_in
    figure = new_figure(height_in)
    top_in = height_in - _TOP_IN - legend_in
    left_in, right_in = _LEFT_IN, _RIGHT_IN if config.file.right else _SIDE_IN
    gap_in = _PANEL_GAP_IN if config.file.right else 0.45
    room_in = WIDTH_IN - left_in - right_in - ((len(charts) - 1) * gap_in if across else 0)
    total = sum(chart.count for chart in charts)
    for index, chart in enumerate(charts):
        width_in = room_in * chart.count / total if across else room_in
        bottom_in = top_in - name_in - panel_in
        chart.draw(add_axes(figure, left_in, bottom_in, width_in, panel_in - 0.06))
        if across:
            left_in += width_in + gap_in
        else:
            top_in -= rows_in[index] + _ROW_GAP_IN
    for row, handles in enumerate(legend):
        place_legend(figure, height_in - _TOP_IN - row * _LEGEND_ROW_IN, handles)
    return _with_texts(config, gpu, lines, figure, height_in)


def _legend(charts: Sequence[BarChart]) -> list[list[Handle]]:
    """In one row, or two where one is too narrow: what the colours mean, and the rest."""
    stated = any(chart.stated for chart in charts)
    limit = next((chart.limit for chart in charts if chart.limit), None)
    rows = [row for row in charts[0].legend(stated, limit) if row]
    probe = new_figure(1)
    needed_in = sum(text_width_in(probe, label) + HANDLE_IN for row in rows for _, label in row)
    return rows if needed_in > WIDTH_IN - 2 * _SIDE_IN else [[handle for row in rows for handle in row]]


def _panels(
    config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile, stated: Sequence[Stated]
) -> list[BarChart]:
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
    named = by_layer and len(wanted) > 1
    return [
        BarChart(config, [one for one in shown if (one.case, one.bar.group) in chosen], gpu, stated, named)
        for chosen in wanted
    ]


def _with_texts(config: FigureConfig, gpu: GpuProfile, lines: list[str], figure: Figure, height_in: float) -> Figure:
    place_text(figure, _SIDE_IN, height_in - 0.06, config.heading, weight="bold", va="top", size=TEXT_SIZE + 1)
    right_in, top_in = WIDTH_IN - _SIDE_IN, height_in - 0.07
    place_text(figure, right_in, top_in, gpu.name, va="top", ha="right", size=TEXT_SIZE, color=FAINT)
    for index, line in enumerate(reversed(lines)):
        place_text(figure, _SIDE_IN, 0.04 + index * _NOTE_LINE_IN, line, size=SMALL_SIZE, color=FAINT, va="bottom")
    return figure
