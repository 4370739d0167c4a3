"""Two runs one above the other: when their engines were busy, on one axis of time."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdnnsim.differences.records import Difference, Lanes, Side
from vdnnsim.errors import InvalidInput
from vdnnsim.figures import page, saving
from vdnnsim.figures.lanes import LANE_IN, draw_lanes
from vdnnsim.figures.looks import FAINT
from vdnnsim.report.difference import difference_subject, side_words
from vdnnsim.report.lanes import Interval
from vdnnsim.report.words import shortened
from vdnnsim.units import format_ms

_LEFT_IN = 0.68
_LANES_IN = 0.95
_HEADING_IN = 0.24
_TOP_IN = 0.28


def difference_figure(
    difference: Difference, path: Path | str | None = None, policy: str | None = None
) -> tuple[Axes, ...]:
    """Draw the timelines of a policy of two results one above the other, to one scale of time; without `policy` of the
    one whose iteration time differs most.

    Returns the axes, the upper ones first; written where there is a `path`, whose suffix says the format. Raises
    `InvalidInput` where a side has no timeline, for another suffix than PNG's, PDF's or SVG's, and where the file
    cannot be written; `UnknownName` for a policy that not both have.
    """
    pair = difference.pair(policy)
    sides = [(side, name, _lanes(side, name)) for side, name in zip((difference.before, difference.after), pair,
                                                                    strict=True)]  # fmt: skip
    paths = [] if path is None else [Path(path)]
    title = difference_subject(difference)
    return saving.write_figure(paths, title, "", lambda: _draw(title, sides))


def _lanes(side: Side, name: str) -> Lanes:
    if not side.lanes.get(name):
        found = "one of an older version" if side.kind == "result" else f"a {side.kind}"
        raise InvalidInput(f"figure: {side.name} has no timeline: found {found}, expected JSON of 'compare' or 'run'")
    return side.lanes[name]


def _draw(title: str, sides: list[tuple[Side, str, Lanes]]) -> Figure:
    ends_ns = [int(side.numbers[name]["iteration_time_ns"] or 1) for side, name, _ in sides]
    last_ns = max(1, *ends_ns)
    unit, scale = page.time_unit(last_ns)
    figure = page.new_figure(page.BOTTOM_IN - 0.2 + 2 * (_LANES_IN + _HEADING_IN) + _TOP_IN)
    for row, ((side, name, lanes), end_ns) in enumerate(zip(sides, ends_ns, strict=True)):
        bottom_in = page.BOTTOM_IN - 0.2 + (1 - row) * (_LANES_IN + _HEADING_IN)
        axes = page.add_axes(figure, _LEFT_IN, bottom_in, LANE_IN, _LANES_IN)
        draw_lanes(axes, _intervals(lanes), last_ns, scale, end_ns)
        axes.set_xlim(0, last_ns * scale)
        axes.axvline(end_ns * scale, color=FAINT, linewidth=0.8, linestyle=":")
        heading = f"{'AB'[row]}: {shortened(name, 30)}, {format_ms(end_ns)}; {side_words(side)}"
        page.write_beside(
            axes, heading, 0, 1, coords="axes fraction", shift_pt=(0, 4), va="bottom", size=page.TEXT_SIZE
        )
        axes.tick_params(labelbottom=row == 1)
    axes.set_xlabel(f"time ({unit})")
    page.place_line(figure, figure.get_size_inches()[1] - 0.07, title, weight="bold", va="top", size=page.TEXT_SIZE + 1)
    return figure


def _intervals(lanes: Lanes) -> dict[str, list[Interval]]:
    return {engine: [Interval(*busy) for busy in lane] for engine, lane in lanes.items()}
