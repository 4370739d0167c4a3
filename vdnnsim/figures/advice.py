"""The advice as a figure: how fast it trains over the device memory that there is, and where the answer flips."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vdnnsim.advice.records import Advice
from vdnnsim.figures import looks, page, saving
from vdnnsim.figures.looks import FAINT
from vdnnsim.report.advice import advice_note, advice_subject, reach_words
from vdnnsim.report.words import byte_unit
from vdnnsim.units import format_bytes

_HEIGHT_IN = 1.9


def advice_figure(advice: Advice, path: Path | str | None = None) -> tuple[Axes, ...]:
    """Draw an advice: the memory that each policy needs for its best time and how much it trains in a second there, the
    best that each memory gives, the capacity, and the largest batch that fits without offload.

    Returns the figure's axes; written where there is a `path`, whose suffix says the format. Raises `InvalidInput` for
    another suffix than PNG's, PDF's or SVG's, and where the file cannot be written.
    """
    paths = [] if path is None else [Path(path)]
    return saving.write_figure(paths, advice_subject(advice), advice_note(advice), lambda: _draw(advice))


def _draw(advice: Advice) -> Figure:
    figure = page.new_figure(page.TOP_IN + _HEIGHT_IN + page.BOTTOM_IN)
    left_in = page.MARGIN_IN + 0.55
    axes = page.add_axes(figure, left_in, page.BOTTOM_IN, page.WIDTH_IN - left_in - 0.2, _HEIGHT_IN)
    unit, unit_bytes = byte_unit(max(point.budget_bytes for point in advice.points))
    most = max(point.budget_bytes for point in advice.points) / unit_bytes
    rates = [_rate(advice, point.time_ns) for point in advice.points]
    other = advice.alternative
    far = advice.capacity_bytes > page.FAR * most * unit_bytes
    right = 1.1 * (most if far else max(most, advice.capacity_bytes / unit_bytes))
    axes.set_xlim(0, right)
    axes.set_ylim(0, 1.12 * max(*rates, (other.units_per_s or 0) if other else 0))
    _draw_best(axes, advice, unit_bytes, right)
    handles = []
    for policy, look in looks.policy_looks(point.policy for point in advice.points).items():
        own = [(point.budget_bytes / unit_bytes, rate) for point, rate in zip(advice.points, rates, strict=True)
               if point.policy == policy]  # fmt: skip
        axes.plot(*zip(*own, strict=True), zorder=4, clip_on=False, **look.style(line=False))
        handles.append(Line2D([], [], label=policy, **look.style(line=False)))
    _draw_capacity(axes, advice, unit_bytes, right, far)
    if other and other.units_per_s:
        axes.axhline(other.units_per_s, color=FAINT, linewidth=0.8, linestyle=":")
        text = f"{other.policy} at {advice.varied} {reach_words(other)}, the largest that fits"
        page.write_beside(axes, text, 0, other.units_per_s, shift_pt=(3, 3), va="bottom", outlined=True)
    axes.set_xlabel(f"device memory ({unit}); line: the best that is known to fit in it")
    unit = advice.unit if advice.per_iteration else "iterations"
    axes.set_ylabel(f"{unit} a second" + (f", {advice.varied} {advice.value}" if advice.value else ""))
    axes.grid(color=looks.GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    page.dress(figure, advice_subject(advice), handles, advice_note(advice))
    return figure


def _rate(advice: Advice, time_ns: int) -> float:
    return (advice.per_iteration or 1) * 1e9 / max(1, time_ns)


def _draw_best(axes: Axes, advice: Advice, unit_bytes: int, right: float) -> None:
    """A staircase: more memory never gives less."""
    places, heights = [], []
    best = 0.0
    for point in sorted(advice.points, key=lambda point: point.budget_bytes):
        best = max(best, _rate(advice, point.time_ns))
        places.append(point.budget_bytes / unit_bytes)
        heights.append(best)
    axes.step([*places, right], [*heights, best], where="post", color=looks.INK, linewidth=1, zorder=3)
    least = advice.capacity.least_bytes / unit_bytes
    axes.axvspan(0, least, color=looks.SHADE, linewidth=0)
    middle = {"coords": ("data", "axes fraction"), "shift_pt": (0, 0), "ha": "center"}
    page.write_beside(axes, "nothing fits", least / 2, 0.3, color=FAINT, **middle)


def _draw_capacity(axes: Axes, advice: Advice, unit_bytes: int, right: float, far: bool) -> None:
    text = f"capacity {format_bytes(advice.capacity_bytes)}"
    at, align = right, "right"
    if far:
        text += " →"
    else:
        at, align = advice.capacity_bytes / unit_bytes, "center"
        axes.axvline(at, zorder=2, **looks.LIMIT_LINE)
    page.write_beside(
        axes, text, at, 1, coords=("data", "axes fraction"), shift_pt=(0, 2), ha=align, va="bottom", color=looks.LIMIT
    )
