"""Bars in groups: side by side by series, stacked or one before the other by part, with points on a right axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vdnnsim.gpu import GpuProfile
from vdnnsim.report.figure.style import FAINT, GRID, INK, LIMIT, SMALL_SIZE, paled
from vdnnsim.reproduce.bars import LEFT, RIGHT, BandedBar
from vdnnsim.reproduce.config import FigureConfig
from vdnnsim.reproduce.drawing.colours import LIGHT, colour_of

_GROUP_WIDTH = 0.82
_FEW_BARS = 2
_LIMIT: dict[str, Any] = {"color": LIMIT, "linewidth": 0.8, "linestyle": (0, (4, 2))}
_BESIDE = {1: 0.22, 2: 0.3}
"""How far from the middle of its bar a point with a number stands, in widths of the bar, by bars in a group: beside the
band and the number of the bar."""
_BELOW_POINTS_PT = 5.5
"""From the axis to the labels where a point may stand on the axis."""
_BAND: dict[str, Any] = {"color": INK, "linewidth": 0.7, "zorder": 4, "solid_capstyle": "butt"}


class BarChart:
    """One panel of a figure."""

    def __init__(self, config: FigureConfig, bars: Sequence[BandedBar], gpu: GpuProfile, named: bool) -> None:
        self.config = config
        self.gpu = gpu
        self.left = [banded for banded in bars if banded.bar.axis == LEFT]
        self.right = [banded for banded in bars if banded.bar.axis == RIGHT]
        self.groups = list(dict.fromkeys(banded.bar.group for banded in bars))
        self.series = list(dict.fromkeys(banded.bar.series for banded in self.left))
        self.parts = list(dict.fromkeys(banded.bar.part for banded in self.left))
        self.overlay = config.file.parts == "overlay"
        self.by_layer = any(banded.bar.group != banded.case for banded in bars)
        self.named = named
        self.limit = ""
        """What the dashed line says, where one was drawn."""

    @property
    def count(self) -> int:
        return len(self.groups)

    @property
    def labels_in(self) -> float:
        """Room below the axes."""
        return 0.46 if self.by_layer else 0.22

    @property
    def legend_rows(self) -> int:
        return 2 if len(self.legend()) > 7 else 1

    @property
    def _width(self) -> float:
        return _GROUP_WIDTH / len(self.series)

    def _place(self, group: str, series: str) -> float:
        """Where a bar stands; points of a series without bars stand in the middle of their group."""
        index = self.series.index(series) if series in self.series else (len(self.series) - 1) / 2
        return self.groups.index(group) - _GROUP_WIDTH / 2 + (index + 0.5) * self._width

    def draw(self, axes: Axes, first: bool, last: bool) -> None:
        tops: dict[tuple[str, str], float] = {}
        for banded in self.left:
            self._draw_bar(axes, banded, tops)
        if first:
            axes.set_ylabel(self.config.file.left)
        axes.set_xlim(-0.5 - 0.02 * len(self.groups) ** 0.5, len(self.groups) - 0.5 + 0.02 * len(self.groups) ** 0.5)
        axes.set_xticks(range(len(self.groups)), self.groups, rotation=90 if self.by_layer else 0)
        axes.tick_params(axis="x", length=0, labelsize=SMALL_SIZE if self.by_layer else SMALL_SIZE + 0.5)
        if self.right and not self.by_layer:
            axes.tick_params(axis="x", pad=_BELOW_POINTS_PT)
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        axes.set_axisbelow(True)
        self._limits(axes, tops)
        self._capacity(axes)
        if self.right:
            self._draw_points(axes, last)
        if self.named:
            axes.annotate(
                self.left[0].case,
                (0.5, 0.97),
                xycoords="axes fraction",
                ha="center",
                va="top",
                size=SMALL_SIZE + 1,
                weight="bold",
            )

    @property
    def _by_part(self) -> bool:
        """Whether colours tell parts apart, not series."""
        return len(self.parts) > 1 and not self.overlay

    def _draw_bar(self, axes: Axes, banded: BandedBar, tops: dict[tuple[str, str], float]) -> None:
        bar = banded.bar
        key = (bar.group, bar.series)
        place = self._place(*key)
        under = 0.0 if self.overlay else tops.get(key, 0.0)
        axes.bar(place, bar.value, self._width * 0.9, under, zorder=2, **self._style(banded))
        top = under + bar.value
        low, high = under + banded.low, under + banded.high
        if high - low > 1e-9 * max(1.0, abs(high)):
            offset = 0.12 * self._width if self.overlay and bar.part == "maximum" else 0.0
            axes.plot([place + offset, place + offset], [low, high], **_BAND)
        outermost = banded is self._outermost(key)
        tops[key] = max(tops.get(key, 0.0), top, high if outermost else top)
        if outermost:
            self._mark(axes, banded, place, tops[key])

    def _style(self, banded: BandedBar) -> dict[str, Any]:
        """Full bars train; of those that do not, the outline is dashed and the area pale or white."""
        bar = banded.bar
        names, name = (self.parts, bar.part) if self._by_part else (self.series, bar.series)
        single = len(names) == 1 and bar.part
        colour = colour_of(bar.part if single else name, names.index(name))
        light = self.overlay and bar.part == "maximum"
        if bar.trains:
            return {"color": paled(colour, LIGHT) if light else colour, "edgecolor": "white", "linewidth": 0.3}
        hollow = light or not bar.part
        return {
            "facecolor": "white" if hollow else paled(colour, 0.45),
            "edgecolor": FAINT,
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
        if len(self.series) <= _FEW_BARS and not self.by_layer:
            total = sum(other.bar.value for other in self.left if other.bar[:2] == banded.bar[:2])
            texts.append(f"{total:.3g}" if abs(total) < 100 else f"{total:.0f}")
        elif not (banded.bar.value or banded.bar.part or self.by_layer):
            texts.append("0")  # no bar is to be seen
        if texts:
            axes.annotate(
                "\n".join(texts), (place, max(top, 0.0)), xytext=(0, 1.5), textcoords="offset points",
                ha="center", va="bottom", size=SMALL_SIZE, color=INK, zorder=6, linespacing=1.0,
                bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
            )  # fmt: skip

    def _limits(self, axes: Axes, tops: dict[tuple[str, str], float]) -> None:
        most = max([*tops.values(), 1e-9])
        least = min([0.0, *(banded.low for banded in self.left)])
        room = 1.08 if self.by_layer else 1.35 if self.right else 1.18
        axes.set_ylim(least * 1.1, max(most * room, -0.3 * least))
        if least < 0:
            axes.axhline(0, color=INK, linewidth=0.6, zorder=3)

    def _capacity(self, axes: Axes) -> None:
        """The line that bars are to be seen against: the GPU's memory, its bandwidth, or the oracle."""
        match self.config.file.measure:
            case "allocation" | "breakdown" | "memory" | "very deep":
                capacity = self.gpu.capacity_bytes / 1e9
                self._line(axes, capacity, f"capacity, {capacity:.1f} GB")
            case "bandwidth":
                peak = self.gpu.memory_bandwidth_bytes_per_s / 1e9
                axes.set_ylim(0, 1.12 * peak)
                self._line(axes, peak, f"memory bandwidth, {peak:.0f} GB/s")
            case "performance":
                axes.set_ylim(0, 1.2)
                axes.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])

    def _line(self, axes: Axes, value: float, text: str) -> None:
        if value > axes.get_ylim()[1]:
            return
        axes.axhline(value, zorder=1.5, **_LIMIT)
        self.limit = text

    def _draw_points(self, axes: Axes, last: bool) -> None:
        right = axes.twinx()
        right.spines["right"].set_visible(True)
        percent = self.right[0].bar.unit == "%"
        most = max(banded.high for banded in self.right)
        right.set_ylim(0, 118 if percent else 1.18 * most)
        if percent:
            right.set_yticks([0, 20, 40, 60, 80, 100])
        if last:
            right.set_ylabel(self.config.file.right)
        if self.by_layer:
            self._draw_line(right)
            return
        for banded in self.right:
            place = self._place(banded.bar.group, banded.bar.series)
            if len(self.series) <= _FEW_BARS:
                place += _BESIDE[len(self.series)] * self._width
            if banded.high > banded.low:
                right.plot([place, place], [banded.low, banded.high], **(_BAND | {"color": FAINT}))
            right.add_line(_point([place], [banded.bar.value]))
            if len(self.series) <= _FEW_BARS:
                right.annotate(
                    f"{banded.bar.value:.0f} %", (place, banded.bar.value), xytext=(5, 0), textcoords="offset points",
                    size=SMALL_SIZE, color=INK, va="center", zorder=7,
                    bbox={"boxstyle": "square,pad=0.08", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
                )  # fmt: skip

    def _draw_line(self, right: Axes) -> None:
        places = [self.groups.index(banded.bar.group) for banded in self.right]
        values = [banded.bar.value for banded in self.right]
        if any(banded.high > banded.low for banded in self.right):
            lows, highs = [banded.low for banded in self.right], [banded.high for banded in self.right]
            right.fill_between(places, lows, highs, color=INK, alpha=0.12, linewidth=0)
        line = _point(places, values)
        line.set_linestyle("-")
        right.add_line(line)

    def legend(self) -> list[Patch | Line2D]:
        """A handle for each colour, and for the points; the line's is `limit_handle`."""
        handles: list[Patch | Line2D] = []
        names = self.parts if self._by_part else self.series
        if len(names) > 1:
            handles = [Patch(facecolor=colour_of(name, index), label=name) for index, name in enumerate(names)]
        elif not self.overlay:
            name = self.parts[0] or self.series[0]
            handles = [Patch(facecolor=colour_of(name, 0), label=name)]
        if self.overlay:
            handles.append(Patch(facecolor=paled(FAINT, LIGHT), label="maximum"))
            handles.append(Patch(facecolor=FAINT, label="average"))
        if self.right:
            label = self.right[0].bar.part or self.right[0].bar.series
            point = _point([], [], label=f"{label} (right)")
            if self.by_layer:
                point.set_linestyle("-")
            handles.append(point)
        return handles


def limit_handle(text: str) -> Line2D:
    """What the legend says of the dashed line."""
    return Line2D([], [], label=text, **_LIMIT)


def _point(places: Sequence[float], values: Sequence[float], label: str = "") -> Line2D:
    return Line2D(
        places, values, marker="D", linestyle="", linewidth=0.8, markersize=3.0, color=INK, markerfacecolor="white",
        markeredgecolor=INK, markeredgewidth=0.7, label=label, zorder=5, clip_on=False,
    )  # fmt: skip
