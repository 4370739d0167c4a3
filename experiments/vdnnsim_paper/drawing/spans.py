"""Figure 9: lanes of spans, forward above backward, the baseline above vDNN."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vdnnsim.figures import (
    ENGINE_COLOURS,
    INK,
    LIMIT,
    PASS_COLOURS,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH_IN,
    add_axes,
    new_figure,
    write_beside,
)
from vdnnsim_paper.bars import BandedBar
from vdnnsim_paper.config import FigureConfig
from vdnnsim_paper.drawing.marks import Handle, place_legend, three_digits
from vdnnsim_paper.overlap import COMPUTE, WASTED

_LANE_IN, _LEFT_IN = 0.29, 1.2
_PANEL_GAP_IN = 0.6
_AXIS_IN = 0.4
_LEGEND_IN, _NAME_IN = 0.16, 0.17
_END = 1.09
"""The end of the axis, in longest lanes: behind each stands when it ended."""
_ON_KERNEL = {"forward": INK, "backward": "white"}
_COPY = ENGINE_COLOURS["copy"]
_WAITING: dict[str, Any] = {"facecolor": "white", "edgecolor": LIMIT, "hatch": "/////", "linewidth": 0.5}
_DIRECTIONS = ("FWD", "BWD")


class Span(NamedTuple):
    """One kernel, copy or stall, in ms."""

    lane: tuple[str, str]
    label: str
    begin: float
    duration: float


def spans_of(bars: Sequence[BandedBar]) -> dict[str, list[Span]]:
    """The spans of each direction; a begin is followed by its duration."""
    found: dict[str, list[Span]] = {}
    begins = [banded.bar for banded in bars if banded.bar.part == "begin"]
    durations = [banded.bar for banded in bars if banded.bar.part == "duration"]
    for begin, duration in zip(begins, durations, strict=True):
        direction, policy, stream = begin.group.split(" | ")
        found.setdefault(direction, []).append(Span((policy, stream), begin.series, begin.value, duration.value))
    return found


def draw_spans(config: FigureConfig, bars: Sequence[BandedBar], note_in: float, top_in: float) -> tuple[Figure, float]:
    """The figure without its title and note, and its height in inches."""
    directions = spans_of(bars)
    lanes = {name: _lanes(spans) for name, spans in directions.items()}
    panel_in = {name: len(rows) * _LANE_IN for name, rows in lanes.items()}
    above_in = top_in + _LEGEND_IN + _NAME_IN
    height_in = above_in + sum(panel_in.values()) + (len(directions) - 1) * _PANEL_GAP_IN + _AXIS_IN + note_in
    figure = new_figure(height_in)
    bottom_in = height_in - above_in
    for name, spans in directions.items():
        bottom_in -= panel_in[name]
        axes = add_axes(figure, _LEFT_IN, bottom_in, WIDTH_IN - _LEFT_IN - 0.12, panel_in[name])
        _draw_panel(axes, name, spans, lanes[name])
        axes.set_xlabel(config.file.left)
        bottom_in -= _PANEL_GAP_IN
    place_legend(figure, height_in - top_in, _legend(directions))
    return figure, height_in


def _legend(directions: Iterable[str]) -> list[Handle]:
    kernels: list[Handle] = [(Patch(facecolor=PASS_COLOURS[name]), f"{name} kernel") for name in directions]
    return [*kernels, (Patch(facecolor=_COPY), "copy"), (Patch(**_WAITING), "the compute stream waits for a copy")]


def _lanes(spans: Sequence[Span]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(span.lane for span in spans if span.lane[1] != WASTED))


def _draw_panel(axes: Axes, name: str, spans: Sequence[Span], lanes: Sequence[tuple[str, str]]) -> None:
    end = _END * max(span.begin + span.duration for span in spans)
    width_in = axes.get_window_extent().width / axes.figure.dpi
    for span in spans:
        policy, stream = span.lane
        if stream == WASTED:
            axes.barh(lanes.index((policy, COMPUTE)), span.duration, 0.62, span.begin, **_WAITING)
            continue
        row = lanes.index(span.lane)
        kernel = stream == COMPUTE
        colour = PASS_COLOURS[name] if kernel else _COPY
        axes.barh(row, span.duration, 0.62, span.begin, color=colour, edgecolor="white", linewidth=0.4)
        room_in = span.duration / end * width_in
        text = next((text for text in _names(span.label) if _fits(text, room_in)), "")
        middle, ink = span.begin + span.duration / 2, _ON_KERNEL[name] if kernel else "white"
        axes.text(middle, row, text, ha="center", va="center_baseline", size=SMALL_SIZE - 0.5, color=ink)
    for policy in dict.fromkeys(lane[0] for lane in lanes):
        last = max(span.begin + span.duration for span in spans if span.lane[0] == policy)
        row, text = lanes.index((policy, COMPUTE)), f"{three_digits(last)} ms"
        write_beside(axes, text, last, row, outlined=True)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_yticks(range(len(lanes)), [f"{policy}\n{stream}" for policy, stream in lanes])
    axes.tick_params(axis="y", length=0, labelsize=SMALL_SIZE)
    axes.set_xlim(0, end)
    axes.set_title(f"{name} propagation", loc="left", size=TEXT_SIZE, pad=3)


def _names(label: str) -> list[str]:
    """What a box may be called, the longest first: the panel says the direction, but not which gradient it is."""
    kind, layer = label.split(" ")
    gradient = kind.removeprefix("BWD(").removesuffix(")")
    prefix = "" if kind in _DIRECTIONS else f"{gradient} "
    short = layer.replace("conv", "c").replace("relu", "r").replace("pool", "p")
    return list(dict.fromkeys([f"{prefix}{layer}", f"{prefix}{short}", gradient if prefix else short]))


def _fits(text: str, room_in: float) -> bool:
    return len(text) * 0.047 + 0.02 < room_in
