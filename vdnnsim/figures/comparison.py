"""The comparison figure: memory by class, and performance, one row per policy."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdnnsim.figures import looks, page, saving
from vdnnsim.figures.looks import FAINT, INK, LIMIT
from vdnnsim.report.words import byte_unit, provenance, shortened, subject
from vdnnsim.results import Comparison, PolicyResult, PolicyRun
from vdnnsim.units import format_bytes

_ROW_IN = 0.25
_GAP_IN = 0.22
_PERFORMANCE_IN = 2.35
_BAR = 0.68
_NAME_LENGTH = 24
_FADED = 0.45
_STAR = "★"
_WHISKER = "├─┤"


def comparison_figure(comparison: Comparison, path: Path | str | None = None) -> tuple[Axes, ...]:
    """Draw a figure of a comparison: (a) device memory at each policy's peak, stacked by class, with the average and
    the capacity; (b) performance relative to the oracle, with a star where a policy does not train,
    and a whisker where the spreads of the trace give the iteration time a range.

    Returns the axes of (a) and (b), whose `figure` is the whole. It is written where there is a `path`, whose suffix
    says the format. Raises `InvalidInput` for another suffix than PNG's, PDF's or SVG's, and where
    the file cannot be written.
    """
    return saving.comparison_axes(comparison, path, lambda: _draw(comparison))


def _draw(comparison: Comparison) -> Figure:
    rows = len(comparison.runs)
    height_in = rows * _ROW_IN
    figure = page.new_figure(page.TOP_IN + height_in + page.BOTTOM_IN)
    names = [_name(run) for run in comparison.runs]
    left_in = page.MARGIN_IN + max(page.text_width_in(figure, name) for name in names) + 0.08
    memory_in = page.WIDTH_IN - left_in - _GAP_IN - _PERFORMANCE_IN - page.MARGIN_IN
    memory = page.add_axes(figure, left_in, page.BOTTOM_IN, memory_in, height_in)
    performance = page.add_axes(figure, left_in + memory_in + _GAP_IN, page.BOTTOM_IN, _PERFORMANCE_IN, height_in)
    colours = looks.class_colours(_classes(comparison))
    _draw_memory(memory, comparison, colours)
    _draw_performance(performance, comparison)
    for axes in (memory, performance):
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_yticks(range(rows), names if axes is memory else [""] * rows)
        axes.tick_params(axis="y", length=0, labelsize=page.TEXT_SIZE)
        axes.grid(axis="x", color=looks.GRID, linewidth=0.5)
        axes.set_axisbelow(True)
    note = provenance(comparison)
    if not all(result.trainable for result in comparison.results):
        note += f". {_STAR} does not train: shown as it would run if the memory had room"
    if any(result.band for result in comparison.results):
        note += f". {_WHISKER} in (b): range that the measurements' spreads leave the iteration time"
    handles = [*page.class_handles(colours), page.diamonds([], [], label="average over time")]
    page.dress(figure, subject(comparison), handles, note)
    return figure


def _name(run: PolicyRun) -> str:
    name = shortened(run.result.policy, _NAME_LENGTH)
    if run.plan.endless:
        return f"{name} (no limit)"
    return name if run.result.trainable else f"{_STAR} {name}"


def _classes(comparison: Comparison) -> list[str]:
    """Classes that hold anything, in the order in which the results name them."""
    sizes: dict[str, int] = {}
    for result in comparison.results:
        for name, size_bytes in result.bytes_by_class_at_peak.items():
            sizes[name] = sizes.get(name, 0) + size_bytes
    return [name for name, size_bytes in sizes.items() if size_bytes]


def _draw_memory(axes: Axes, comparison: Comparison, colours: dict[str, str]) -> None:
    largest_bytes = max(1, *(result.peak_bytes for result in comparison.results))
    unit, unit_bytes = byte_unit(largest_bytes)
    for row, result in enumerate(comparison.results):
        _draw_classes(axes, row, result, colours, unit_bytes)
        peak, average = result.peak_bytes / unit_bytes, result.average_bytes / unit_bytes
        text = f"{peak:.{2 if largest_bytes < 100 * unit_bytes else 1}f}"
        _write_value(axes, row, peak, text, result, room_pt=6 if average > 0.97 * peak else 3)
        axes.add_line(page.diamonds([average], [row]))
    _draw_capacity(axes, comparison.capacity_bytes, largest_bytes, unit_bytes)
    axes.set_xlabel(f"(a) device memory in use at the peak ({unit})")


def _draw_classes(axes: Axes, row: int, result: PolicyResult, colours: dict[str, str], unit_bytes: int) -> None:
    begin = 0.0
    for name, colour in colours.items():
        size = result.bytes_by_class_at_peak.get(name, 0) / unit_bytes
        if size:
            shown = colour if result.trainable else looks.paled(colour, _FADED)
            axes.barh(row, size, _BAR, begin, color=shown, edgecolor="white")
        begin += size


def _draw_capacity(axes: Axes, capacity_bytes: int, largest_bytes: int, unit_bytes: int) -> None:
    far = capacity_bytes > page.FAR * largest_bytes
    capacity = capacity_bytes / unit_bytes
    limit = 1.13 * (largest_bytes if far else max(largest_bytes, capacity_bytes)) / unit_bytes
    axes.set_xlim(0, limit)
    text = f"capacity {format_bytes(capacity_bytes)}"
    if far:
        text, at, align = f"{text} →", limit, "right"
    else:
        axes.axvline(capacity, zorder=3, **looks.LIMIT_LINE)
        at, align = capacity, "right" if capacity > 0.6 * limit else "center"
    page.write_beside(
        axes, text, at, 1, coords=("data", "axes fraction"), shift_pt=(0, 2), ha=align, va="bottom", color=LIMIT
    )


def _draw_performance(axes: Axes, comparison: Comparison) -> None:
    longest = max(1.0, *(result.performance for result in comparison.results))
    reach = max(longest, *(_performances(result)[1] for result in comparison.results))
    for row, result in enumerate(comparison.results):
        if result.trainable:
            axes.barh(row, result.performance, _BAR, color=looks.PERFORMANCE_COLOUR)
            text = f"{result.performance:.2f}"
        else:
            axes.barh(row, result.performance, _BAR, color="white", edgecolor=FAINT, linestyle="--")
            text = f"{_STAR} ({result.performance:.2f})"
        _write_value(axes, row, _draw_range(axes, row, result), text, result)
    axes.set_xlim(0, 1.2 * reach)
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= longest])
    axes.spines["bottom"].set_bounds(0, longest)
    axes.set_xlabel("(b) performance relative to the oracle")


def _performances(result: PolicyResult) -> tuple[float, float]:
    """The performance at both ends of the iteration time's range, against the oracle as predicted."""
    if result.band is None or not result.band.low_ns:
        return result.performance, result.performance
    low_ns, high_ns = result.band
    best_ns = result.performance * result.iteration_time_ns
    return best_ns / high_ns, best_ns / low_ns


def _draw_range(axes: Axes, row: int, result: PolicyResult) -> float:
    """A whisker where the iteration time has a range. Returns where the bar and it end."""
    low, high = _performances(result)
    if low < high:
        axes.plot([low, high], [row, row], color=INK, linewidth=0.8, zorder=4)
        axes.plot([low, high], [row, row], linestyle="", marker="|", color=INK, markersize=4.5, zorder=4)
    return high


def _write_value(axes: Axes, row: int, value: float, text: str, result: PolicyResult, room_pt: float = 3) -> None:
    """A number behind the end of its bar, in front of lines that pass there."""
    page.write_beside(
        axes,
        text,
        value,
        row,
        shift_pt=(room_pt, 0),
        size=page.SMALL_SIZE + 0.5,
        color=INK if result.trainable else FAINT,
        bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
        zorder=4,
    )
