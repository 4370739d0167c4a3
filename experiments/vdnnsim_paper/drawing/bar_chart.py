"""Bars in groups: side by side by series, stacked or one before the other by part, with points on a right axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vdnnsim import GpuProfile
from vdnnsim.figures import (
    FAINT,
    GRID,
    INK,
    LIMIT_LINE,
    SMALL_SIZE,
    TEXT_SIZE,
    diamonds,
    new_figure,
    paled,
    text_width_in,
    write_beside,
)
from vdnnsim_paper.bars import LEFT, RIGHT, BandedBar, Stated
from vdnnsim_paper.config import FigureConfig
from vdnnsim_paper.drawing.colours import LIGHT, colour_of
from vdnnsim_paper.drawing.marks import (
    INTERVALS,
    PAPER,
    Handle,
    draw_paper,
    paper_handle,
    round_step,
    three_digits,
)

_GROUP_WIDTH = 0.82
_FEW_BARS = 2
_BESIDE = {1: 0.22, 2: 0.3}
"""How far from the middle of its bar a point with a number stands, in widths of the bar, by bars in a group: beside the
band and the number of the bar."""
_BELOW_POINTS_PT = 5.5
"""From the axis to the labels where a point may stand on the axis."""
_BEFORE_PAPER = 0.16
"""Room for the number of the paper's value of a first bar, in widths of a group."""
_ABOVE = 1.18
"""The height of axes with points in percent, over 100 %."""
_BAND: dict[str, Any] = {"color": INK, "linewidth": 0.7, "zorder": 4, "solid_capstyle": "butt"}


class Limit(NamedTuple):
    """A dashed line across the axes, and what it says."""

    value: float
    text: str


class BarChart:
    """One panel of a figure, with the paper's values where it states some."""

    def __init__(
        self, config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile, stated: Sequence[Stated], named: bool
    ) -> None:
        self.config = config
        self.gpu = gpu
        self.left = [banded for banded in bars if banded.bar.axis == LEFT]
        self.right = [banded for banded in bars if banded.bar.axis == RIGHT]
        self.groups = list(dict.fromkeys(banded.bar.group for banded in bars))
        self.series = list(dict.fromkeys(banded.bar.series for banded in self.left))
        self.parts = list(dict.fromkeys(banded.bar.part for banded in self.left))
        self.few = len(self.series) <= _FEW_BARS
        """Bars so wide that there is room for their numbers."""
        self.overlay = config.file.parts == "overlay"
        self.by_layer = any(banded.bar.group != banded.case for banded in bars)
        self.stated = [value for value in stated if value.group in self.groups]
        self.name = self.left[0].case if named else ""
        self.tops = self._tops()
        self.bottom, self.top, self.ticks = self._scale()
        self.limit = self._limit()

    @property
    def count(self) -> int:
        return len(self.groups)

    @property
    def labels_in(self) -> float:
        """Room below the axes."""
        if not self.by_layer:
            return 0.22
        probe = new_figure(1)
        return 0.08 + max(text_width_in(probe, group, SMALL_SIZE) for group in self.groups)

    @property
    def name_in(self) -> float:
        """Room above the axes."""
        return 0.17 if self.name else 0.0

    @property
    def _width(self) -> float:
        return _GROUP_WIDTH / len(self.series)

    def _place(self, group: str, series: str) -> float:
        """Where a bar stands; points of a series without bars stand in the middle of their group."""
        index = self.series.index(series) if series in self.series else (len(self.series) - 1) / 2
        return self.groups.index(group) - _GROUP_WIDTH / 2 + (index + 0.5) * self._width

    def draw(self, axes: Axes) -> None:
        drawn: dict[tuple[str, str], float] = {}
        for banded in self.left:
            self._draw_bar(axes, banded, drawn)
        axes.set_ylabel(self.config.file.left)
        beside = 0.02 * len(self.groups) ** 0.5
        before = _BEFORE_PAPER if any((one.group, one.axis) == (self.groups[0], LEFT) for one in self.stated) else 0
        axes.set_xlim(-0.5 - beside - before, len(self.groups) - 0.5 + beside)
        axes.set_xticks(range(len(self.groups)), self.groups, rotation=90 if self.by_layer else 0)
        axes.tick_params(axis="x", length=0, labelsize=SMALL_SIZE if self.by_layer else SMALL_SIZE + 0.5)
        if self.right and not self.by_layer:
            axes.tick_params(axis="x", pad=_BELOW_POINTS_PT)
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.set_ylim(self.bottom, self.top)
        if self.ticks:
            axes.set_yticks(self.ticks)
        if self.bottom < 0:
            axes.axhline(0, color=INK, linewidth=0.6, zorder=3)
        if self.limit:
            axes.axhline(self.limit.value, zorder=1.5, **LIMIT_LINE)
        right = self._draw_points(axes) if self.right else axes
        for stated in self.stated:
            if stated.axis == LEFT:
                self._paper_of_bar(axes, stated)
            else:
                self._paper_of_point(right, stated)
        if self.name:
            axes.set_title(self.name, loc="left", size=TEXT_SIZE, pad=3)

    @property
    def _by_part(self) -> bool:
        """Whether colours tell parts apart, not series."""
        return len(self.parts) > 1 and not self.overlay

    def _tops(self) -> dict[tuple[str, str], float]:
        """How high each bar reaches, its band with it."""
        tops: dict[tuple[str, str], float] = {}
        for key in dict.fromkeys(banded.bar[:2] for banded in self.left):
            values = [banded.bar.value for banded in self.left if banded.bar[:2] == key]
            under = 0.0 if self.overlay else sum(values[:-1])
            top = max(values) if self.overlay else sum(values)
            tops[key] = max(top, under + self._outermost(key).high)
        return tops

    def _draw_bar(self, axes: Axes, banded: BandedBar, drawn: dict[tuple[str, str], float]) -> None:
        bar = banded.bar
        key = (bar.group, bar.series)
        place = self._place(*key)
        under = 0.0 if self.overlay else drawn.get(key, 0.0)
        axes.bar(place, bar.value, self._width * 0.9, under, zorder=2, **self._style(banded))
        low, high = under + banded.low, under + banded.high
        if high - low > 1e-9 * max(1.0, abs(high)):
            offset = 0.12 * self._width if self.overlay and bar.part == "maximum" else 0.0
            axes.plot([place + offset, place + offset], [low, high], **_BAND)
        drawn[key] = under + bar.value
        if banded is self._outermost(key):
            self._mark(axes, banded, place, self.tops[key])

    def _style(self, banded: BandedBar) -> dict[str, Any]:
        """Full bars train; of those that do not, the outline is dashed and the area pale or white."""
        bar = banded.bar
        names, name = (self.parts, bar.part) if self._by_part else (self.series, bar.series)
        single = len(names) == 1 and bar.part
        colour = colour_of(bar.part if single else name, names.index(name))
        light = self.overlay and bar.part == "maximum"
        if bar.trains:
            return {"color": paled(colour, LIGHT) if light else colour, "edgecolor": "white", "linewidth": 0.3}
        return {
            "facecolor": "white" if light or not bar.part else paled(colour, 0.45),
            "edgecolor": colour if self.overlay or not bar.part else FAINT,
            "linestyle": (0, (3, 1.5)),
            "linewidth": 0.7,
        }

    def _outermost(self, key: tuple[str, str]) -> BandedBar:
        """The part of a bar that carries its marks: the largest of an overlay, the last of a stack."""
        own = [banded for banded in self.left if banded.bar[:2] == key]
        return max(own, key=lambda banded: banded.bar.value) if self.overlay else own[-1]

    def _mark(self, axes: Axes, banded: BandedBar, place: float, top: float) -> None:
        texts = []
        if not banded.bar.trains:
            texts.append("★")
        elif banded.trains_in < 1:
            texts.append("☆")
        if self.few and not self.by_layer:
            total = sum(other.bar.value for other in self.left if other.bar[:2] == banded.bar[:2])
            texts.append(three_digits(total))
        elif not (banded.bar.value or banded.bar.part or self.by_layer):
            texts.append("0")  # no bar is to be seen
        if texts:
            text, above = "\n".join(texts), {"ha": "center", "va": "bottom", "linespacing": 1.0}
            write_beside(axes, text, place, max(top, 0.0), shift_pt=(0, 1.5), outlined=True, **above)

    def _scale(self) -> tuple[float, float, list[float]]:
        """The ends of the left axis, with room for the marks above the bars, and its ticks where they are ours."""
        match self.config.file.measure:
            case "bandwidth":
                return 0.0, 1.12 * self.gpu.memory_bandwidth_bytes_per_s / 1e9, []
            case "performance":
                return 0.0, 1.2, [0, 0.2, 0.4, 0.6, 0.8, 1.0]
        most = max([*self.tops.values(), *(value.value for value in self.stated if value.axis == LEFT), 1e-9])
        least = min([0.0, *(banded.low for banded in self.left)])
        if self.right:
            ticks = self._shared_ticks(most * (1.08 if self.by_layer else 1.35))
            return 0.0, ticks[-1] * self._above, ticks
        return 1.1 * least, max(1.18 * most, -0.3 * least), []

    @property
    def _above(self) -> float:
        return 1.0 if self.by_layer else _ABOVE

    def _shared_ticks(self, most: float) -> list[float]:
        """Ticks of one of two axes that share a grid: both have as many."""
        step = round_step(most / self._above)
        return [step * index for index in range(INTERVALS + 1)]

    def _limit(self) -> Limit | None:
        """The line that bars are to be seen against, where it is within the axis: the GPU's memory or its bandwidth."""
        match self.config.file.measure:
            case "allocation" | "breakdown" | "memory" | "very deep":
                value = self.gpu.capacity_bytes / 1e9
                text = f"capacity, {value:.1f} GB"
            case "bandwidth":
                value = self.gpu.memory_bandwidth_bytes_per_s / 1e9
                text = f"memory bandwidth, {value:.0f} GB/s"
            case _:
                return None
        return Limit(value, text) if value <= self.top else None

    def _draw_points(self, axes: Axes) -> Axes:
        right = axes.twinx()
        right.spines["right"].set_visible(True)
        percent = self.right[0].bar.unit == "%"
        ticks = self._shared_ticks(100 * _ABOVE if percent else 1.08 * max(banded.high for banded in self.right))
        right.set_yticks(ticks)
        right.set_ylim(0, ticks[-1] * self._above)
        right.set_ylabel(self.config.file.right)
        if self.by_layer:
            self._draw_line(right)
            return right
        for banded in self.right:
            place = self._place(banded.bar.group, banded.bar.series)
            if self.few:
                place += _BESIDE[len(self.series)] * self._width
            if banded.high > banded.low:
                right.plot([place, place], [banded.low, banded.high], **(_BAND | {"color": FAINT}))
            right.add_line(diamonds([place], [banded.bar.value]))
            if self.few:
                text = f"{banded.bar.value:.0f} %"
                write_beside(right, text, place, banded.bar.value, shift_pt=(4, 0), outlined=True, va="center")
        return right

    def _draw_line(self, right: Axes) -> None:
        places = [self.groups.index(banded.bar.group) for banded in self.right]
        values = [banded.bar.value for banded in self.right]
        if any(banded.high > banded.low for banded in self.right):
            lows, highs = [banded.low for banded in self.right], [banded.high for banded in self.right]
            right.fill_between(places, lows, highs, color=INK, alpha=0.12, linewidth=0)
        line = diamonds(places, values)
        line.set_linestyle("-")
        right.add_line(line)

    def _paper_of_bar(self, axes: Axes, stated: Stated) -> None:
        """A level line at the paper's value across a bar, or at its left edge where bars are wide and have numbers;
        the paper's number stands left of it."""
        place, width = self._place(stated.group, stated.series), 1.6 * self._width
        if self.few:
            place, width = place - 0.34 * self._width, 0.25 * self._width
        draw_paper(axes, place, stated.value, width)
        write_number(axes, stated, place - width / 2, stated.value, (-1.5, 0), ha="right", va="center")

    def _paper_of_point(self, axes: Axes, stated: Stated) -> None:
        """A level line at the paper's value across a point; the paper's number stands above both, or where the point
        has a number, above or below that."""
        place, width = self._place(stated.group, stated.series), 1.6 * self._width
        ours = next(one.bar.value for one in self.right if one.bar[:2] == (stated.group, stated.series))
        if not self.few:
            draw_paper(axes, place, stated.value, width)
            above = max(ours, stated.value)
            write_number(axes, stated, place, above, (0, 3.5), ha="center", va="bottom")
            return
        place, width = place + _BESIDE[len(self.series)] * self._width, 0.15 * self._width
        draw_paper(axes, place, stated.value, width)
        shift_pt, level = (2.0, "bottom") if stated.value > ours else (-2.0, "top")
        write_number(axes, stated, place + width / 2, stated.value, (2, shift_pt), va=level)

    def legend(self, stated: bool, limit: Limit | None) -> list[list[Handle]]:
        """What the colours mean, and then all else; `stated` is whether any panel has a value of the paper, `limit` the
        dashed line that any has."""
        names = self.parts if self._by_part else self.series
        if len(names) == 1 and self.parts[0] and not self.overlay:
            names = self.parts
        colours = {name: colour_of(name, index) for index, name in enumerate(names)}
        rest: list[Handle] = []
        if self.overlay:
            for label, strength in (("average", 1.0), ("maximum", LIGHT)):
                shades = tuple(Patch(facecolor=paled(colour, strength)) for colour in colours.values())
                rest.append((shades, label))
        if self.right:
            handle = diamonds([], [])
            if self.by_layer:
                handle.set_linestyle("-")
            rest.append((handle, f"{self.right[0].bar.part or self.right[0].bar.series} (right)"))
        if stated:
            rest.append((paper_handle(), "paper (Titan X)"))
        if limit:
            rest.append((Line2D([], [], **LIMIT_LINE), limit.text))
        return [[(Patch(facecolor=colour), name) for name, colour in colours.items()], rest]


def write_number(axes: Axes, stated: Stated, x: float, y: float, shift_pt: tuple[float, float], **options: Any) -> None:
    """The paper's number beside its mark."""
    text = f"{stated.value:g} %" if stated.unit == "%" else f"{stated.value:g}"
    write_beside(axes, text, x, y, shift_pt=shift_pt, outlined=True, color=PAPER, **options)
