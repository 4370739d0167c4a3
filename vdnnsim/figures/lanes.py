"""One lane of a timeline: when an engine was busy, legible for twenty intervals as for ten thousand.

An interval of some width is a box, with its name where there is room. Narrower ones would blur into each other as
boxes, so they are added up: each dot of the page gets the lane's colour as dark as the share of its time that was
busy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from vdnnsim.figures.looks import ENGINE_COLOURS, FAINT
from vdnnsim.figures.page import DPI, SMALL_SIZE, write_beside
from vdnnsim.report.lanes import STALL, Interval

LANE_IN = 5.3
DOTS = round(LANE_IN * DPI)
"""Dots across the time axis: those of a PNG, so that none falls between two."""
_MANY = 300
COARSER = 4
"""Where things have but a few dots each, they beat with the raster: dots so many times wider show them evenly."""
_BOX_DOTS = 6
_NAME_SIZE = SMALL_SIZE - 1.2
_CHARACTER_EM = 0.62
_HEIGHT = 0.72
_SHADE = 0.16


def draw_lanes(
    axes: Axes, lanes: Mapping[str, Sequence[Interval]], end_ns: int, scale: float, of_ns: int | None = None
) -> None:
    """Draw lanes by engine from the top, with how much of the time (`of_ns`, the whole axis unless said) each was busy
    at the right; where compute stood still for copies, all of them are shaded."""
    rows = (-0.5, len(lanes) - 0.5)
    stalled = lanes.get(STALL, ())
    if stalled:
        draw_density(axes, rows, stalled, end_ns, scale, ENGINE_COLOURS["stall"], strength=_SHADE, zorder=0)
    for row, (engine, intervals) in enumerate(lanes.items()):
        colour = ENGINE_COLOURS.get(engine, ENGINE_COLOURS["copy"])
        draw_lane(axes, row, intervals, end_ns, scale, colour)
        busy_ns = sum(interval.end_ns - interval.begin_ns for interval in intervals)
        coords = ("axes fraction", "data")
        shade = colour if intervals else FAINT
        write_beside(axes, _share(busy_ns, of_ns or end_ns), 1, row, coords=coords, shift_pt=(4, 0), color=shade)
    axes.set_ylim(rows[1], rows[0])
    axes.set_yticks(range(len(lanes)), list(lanes))
    axes.tick_params(axis="y", length=0)


def _share(busy_ns: int, end_ns: int) -> str:
    share = 100 * busy_ns / end_ns
    return f"{share:.0f} % of the time" if share >= 10 or not busy_ns else f"{share:.1f} % of the time"


def draw_lane(axes: Axes, row: float, intervals: Sequence[Interval], end_ns: int, scale: float, colour: str) -> None:
    """Draw a lane at `row` of axes whose x is `scale` times nanoseconds and ends at `end_ns`."""
    least_ns = _BOX_DOTS * end_ns / DOTS
    wide = [interval for interval in intervals if interval.end_ns - interval.begin_ns >= least_ns]
    narrow = [interval for interval in intervals if interval.end_ns - interval.begin_ns < least_ns]
    if narrow:
        draw_density(axes, (row - _HEIGHT / 2, row + _HEIGHT / 2), narrow, end_ns, scale, colour)
    axes.broken_barh(
        [(interval.begin_ns * scale, (interval.end_ns - interval.begin_ns) * scale) for interval in wide],
        (row - _HEIGHT / 2, _HEIGHT),
        facecolors=colour,
        edgecolors="white",
        linewidth=0.3,
    )
    for interval in wide:
        room_pt = (interval.end_ns - interval.begin_ns) / end_ns * LANE_IN * 72
        if interval.name and len(interval.name) * _CHARACTER_EM * _NAME_SIZE + 2 <= room_pt:
            middle = (interval.begin_ns + interval.end_ns) / 2 * scale
            axes.text(middle, row, interval.name, size=_NAME_SIZE, color="white", ha="center", va="center_baseline")


def draw_density(
    axes: Axes,
    rows: tuple[float, float],
    intervals: Sequence[Interval],
    end_ns: int,
    scale: float,
    colour: str,
    strength: float = 1.0,
    zorder: float = 1,
) -> None:
    """Draw intervals, none of which overlap, as shares of busy time per dot."""
    dots = DOTS if len(intervals) < _MANY else DOTS // COARSER
    pixels = np.empty((1, dots, 4))
    pixels[..., :3] = to_rgb(colour)
    pixels[..., 3] = strength * busy_shares(intervals, end_ns, dots)
    axes.imshow(
        pixels, extent=(0, end_ns * scale, *rows), aspect="auto", origin="lower", interpolation="nearest", zorder=zorder
    )


def busy_shares(intervals: Sequence[Interval], end_ns: int, dots: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The share, 0 to 1, of each of `dots` equal parts of the time that intervals fill, none of which overlap."""
    ordered = sorted(intervals)
    times_ns = [time_ns for interval in ordered for time_ns in (interval.begin_ns, interval.end_ns)]
    busy_ns = np.cumsum([0] + [interval.end_ns - interval.begin_ns for interval in ordered])
    totals_ns = np.repeat(busy_ns, 2)[1:-1]
    edges_ns = np.linspace(0, end_ns, dots + 1)
    shares: np.ndarray[tuple[int], np.dtype[np.float64]] = np.diff(np.interp(edges_ns, times_ns, totals_ns))
    return np.clip(shares * dots / end_ns, 0, 1)
