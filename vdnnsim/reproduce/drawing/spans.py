"""Figure 9: lanes of spans, forward above backward, the baseline above vDNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdnnsim.report.figure.style import FAINT, INK, LIMIT, SMALL_SIZE, TEXT_SIZE, WIDTH_IN, add_axes, new_figure
from vdnnsim.reproduce.bars import BandedBar
from vdnnsim.reproduce.config import FigureConfig
from vdnnsim.reproduce.overlap import WASTED

_LANE_IN, _LEFT_IN = 0.27, 1.35
_PANEL_GAP_IN = 0.5
_AXIS_IN = 0.34
_COLOURS = {"FWD": "#6699CC", "BWD": "#EE99AA", "OFF": "#EECC66", "PRE": "#EECC66"}


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
    """The figure without its texts, and its height in inches."""
    directions = spans_of(bars)
    lanes = {name: _lanes(spans) for name, spans in directions.items()}
    panel_in = {name: len(rows) * _LANE_IN for name, rows in lanes.items()}
    height_in = top_in + 0.14 + sum(panel_in.values()) + (len(directions) - 1) * _PANEL_GAP_IN + _AXIS_IN + note_in
    figure = new_figure(height_in)
    bottom_in = height_in - top_in - 0.14
    for name, spans in directions.items():
        bottom_in -= panel_in[name]
        axes = add_axes(figure, _LEFT_IN, bottom_in, WIDTH_IN - _LEFT_IN - 0.12, panel_in[name])
        _draw_panel(axes, name, spans, lanes[name])
        bottom_in -= _PANEL_GAP_IN
    axes.set_xlabel(config.file.left)
    return figure, height_in


def _lanes(spans: Sequence[Span]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(span.lane for span in spans if span.lane[1] != WASTED))


def _draw_panel(axes: Axes, name: str, spans: Sequence[Span], lanes: Sequence[tuple[str, str]]) -> None:
    end = max(span.begin + span.duration for span in spans)
    width_in = axes.get_window_extent().width / axes.figure.dpi
    for span in spans:
        if span.lane[1] == WASTED:
            row = next(index for index, lane in enumerate(lanes) if lane[0] == span.lane[0])
            axes.barh(
                row, span.duration, 0.62, span.begin, facecolor="white", edgecolor=LIMIT, hatch="/////", linewidth=0.5
            )
            continue
        colour = _COLOURS.get(span.label[:3], "#BBBBBB")
        row = lanes.index(span.lane)
        axes.barh(row, span.duration, 0.62, span.begin, color=colour, edgecolor="white", linewidth=0.4)
        room_in = span.duration / end * width_in
        text = next((text for text in _names(span.label) if _fits(text, room_in)), "")
        middle = span.begin + span.duration / 2
        axes.text(middle, row, text, ha="center", va="center_baseline", size=SMALL_SIZE - 0.5, color=INK)
    for policy in dict.fromkeys(lane[0] for lane in lanes):
        last = max(span.begin + span.duration for span in spans if span.lane[0] == policy)
        axes.axvline(last, color=FAINT, linewidth=0.6, linestyle=(0, (2, 2)), zorder=0)
    axes.set_ylim(len(lanes) - 0.5, -0.5)
    axes.set_yticks(range(len(lanes)), [f"{policy}\n{stream}" for policy, stream in lanes])
    axes.tick_params(axis="y", length=0, labelsize=SMALL_SIZE)
    axes.set_xlim(0, end * 1.01)
    axes.set_title(f"{name} propagation", loc="left", size=TEXT_SIZE, pad=3)


def _names(label: str) -> list[str]:
    """A label, and shorter ones where it does not fit: the layer alone, then the first letter of its kind."""
    layer = label.split(" ")[-1]
    short = layer.replace("conv", "c").replace("relu", "r").replace("pool", "p")
    return [label, layer, short]


def _fits(text: str, room_in: float) -> bool:
    return len(text) * 0.047 + 0.02 < room_in
