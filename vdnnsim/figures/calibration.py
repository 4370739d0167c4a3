"""The report's figure: the error of every case, and every layer's time on both machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from vdnnsim.calibration.records import CaseRecord, Verdict
from vdnnsim.figures import looks, page, saving

if TYPE_CHECKING:
    from vdnnsim.pytorch.measured import StepRecord

_ROW_IN, _LEAST_IN = 0.19, 2.0
_STEPS_IN, _STEPS_LEFT_IN = 2.45, 0.55
_WITHIN = 1.0
"""The shaded errors, in percent."""
_MARKER = 3.6
_NOTE = (
    "Hollow: measured to make the traces or the profile. (b) is measured with marks around each kernel and copy, "
    "which take some microseconds."
)
_STEPS_NOTE = "Hollow: the host binds, decided before the case was measured."
_DOT, _CROSS = "o", "x"
_UNTOLD = "cannot be told"


def calibration_figure(records: Sequence[CaseRecord], path: Path | str | None = None) -> tuple[Axes, ...]:
    """Draw a figure of a calibration's cases: (a) predicted less measured iteration time of each case in per cent, with
    held-out cases filled and crosses for those that cannot be told; (b) each step's measured and predicted time, all
    cases together.

    Returns the axes of (a) and (b). It is written where there is a `path`, whose suffix says the format. Raises
    `InvalidInput` for another suffix than PNG's, PDF's or SVG's, and where the file cannot be written.
    """
    gpus = ", ".join(dict.fromkeys(record.gpu for record in records if record.gpu))
    title = f"Predicted and measured{' on ' + gpus if gpus else ''}: {len(records)} cases"
    return saving.write_figure([] if path is None else [Path(path)], title, _NOTE, lambda: compose(records, title))


def steps_figure(records: Sequence[StepRecord], path: Path | str | None = None) -> tuple[Axes, ...]:
    """Draw a figure of a model's steps by plans: (a) predicted less measured step time of each case in per cent, hollow
    where the host binds; (b) each case's measured and predicted peak of memory, as the allocator holds it where it
    counts.

    Returns the axes of (a) and (b); written and refused as `calibration_figure`.
    """
    ran = [record for record in records if record.step_ns is not None]
    gpus = ", ".join(dict.fromkeys(record.gpu for record in ran))
    title = f"Steps by plans, predicted and measured on {gpus}: {len(ran)} cases"
    paths = [] if path is None else [Path(path)]
    return saving.write_figure(paths, title, _STEPS_NOTE, lambda: compose_steps(ran, title))


def compose(records: Sequence[CaseRecord], title: str) -> Figure:
    """The figure, not yet written."""
    page_ = _page(records)
    _draw_errors(page_.left, records, page_, [record.held_out for record in records])
    _draw_steps(page_.right, records, page_.colours)
    return _dressed(page_, records, title, _NOTE)


def compose_steps(records: Sequence[StepRecord], title: str) -> Figure:
    """The figure of steps by plans, not yet written."""
    page_ = _page(records)
    _draw_errors(page_.left, records, page_, [not record.predicted.host_bound for record in records])
    page_.left.set_xlabel("(a) step time, predicted less measured (%)")
    pairs = [(pair, page_.colours[record.policy]) for record in records if (pair := peaks_gb(record))]
    _draw_pairs(page_.right, pairs, 12.0, "linear")
    page_.right.set_xlabel("(b) peak of memory, measured (GB)")
    page_.right.set_ylabel("predicted (GB)")
    return _dressed(page_, records, title, _STEPS_NOTE)


def peaks_gb(record: StepRecord) -> tuple[float, float] | None:
    """(measured, predicted) bytes that the allocator held at most, or where nobody counts them those asked for."""
    if record.reserved_bytes is not None:
        return record.reserved_bytes / 1e9, record.predicted.reserved_bytes / 1e9
    if record.requested_bytes is not None:
        return record.requested_bytes / 1e9, record.predicted.requested_bytes / 1e9
    return None


class Case(Protocol):
    """A measured case beside its prediction, as (a) shows it."""

    @property
    def group(self) -> str: ...
    @property
    def policy(self) -> str: ...
    @property
    def error(self) -> float: ...
    @property
    def verdict(self) -> Verdict: ...


class _Page(NamedTuple):
    """A page with two panels, the groups that (a) has a row for, and the policies' colours."""

    figure: Figure
    left: Axes
    right: Axes
    groups: list[str]
    colours: dict[str, str]


def _page(records: Sequence[Case]) -> _Page:
    groups = list(dict.fromkeys(record.group for record in records))
    height_in = max(_LEAST_IN, _ROW_IN * len(groups))
    figure = page.new_figure(page.TOP_IN + height_in + page.BOTTOM_IN)
    left_in = page.MARGIN_IN + max(page.text_width_in(figure, name) for name in groups) + 0.1
    errors_in = page.WIDTH_IN - left_in - _STEPS_LEFT_IN - _STEPS_IN - page.MARGIN_IN
    left = page.add_axes(figure, left_in, page.BOTTOM_IN, errors_in, height_in)
    steps_left_in = left_in + errors_in + _STEPS_LEFT_IN
    right = page.add_axes(figure, steps_left_in, page.BOTTOM_IN, _STEPS_IN, height_in)
    looked = looks.policy_looks(record.policy for record in records)
    return _Page(figure, left, right, groups, {name: look.colour for name, look in looked.items()})


def _dressed(page_: _Page, records: Sequence[Case], title: str, note: str) -> Figure:
    handles: list[Patch | Line2D] = [_marker(colour, filled=True, label=name) for name, colour in page_.colours.items()]
    handles.append(Patch(facecolor=looks.SHADE, label=f"within {_WITHIN:g} %"))
    if any(record.verdict is Verdict.CANNOT_BE_TOLD for record in records):
        handles.append(_marker(looks.FAINT, filled=True, label=_UNTOLD, shape=_CROSS))
    page.dress(page_.figure, title, handles, note)
    return page_.figure


def _marker(colour: str, filled: bool, label: str = "", shape: str = _DOT) -> Line2D:
    face = colour if filled else "white"
    look = Line2D([], [], linestyle="", marker=shape, markersize=_MARKER, color=colour, label=label, zorder=3)
    look.set_markerfacecolor(face)
    return look


def _draw_errors(axes: Axes, records: Sequence[Case], page_: _Page, filled: Sequence[bool]) -> None:
    groups, colours = page_.groups, page_.colours
    axes.axvspan(-_WITHIN, _WITHIN, color=looks.SHADE, linewidth=0, zorder=0)
    axes.axvline(0, color=looks.FAINT, linewidth=0.6, zorder=1)
    policies = list(colours)
    for record, full in zip(records, filled, strict=True):
        shape = _CROSS if record.verdict is Verdict.CANNOT_BE_TOLD else _DOT
        marker = _marker(colours[record.policy], full, shape=shape)
        # policies of one group a little apart, so that equal errors are seen
        shift = 0.5 * ((policies.index(record.policy) + 0.5) / len(policies) - 0.5)
        marker.set_data([100 * record.error], [groups.index(record.group) + shift])
        axes.add_line(marker)
    largest = max(_WITHIN, *(100 * abs(record.error) for record in records))
    axes.set_xlim(-1.1 * largest, 1.1 * largest)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_yticks(range(len(groups)), groups)
    axes.tick_params(axis="y", length=0, labelsize=page.TEXT_SIZE)
    for row in range(1, len(groups)):
        axes.axhline(row - 0.5, color=looks.GRID, linewidth=0.4, zorder=0.5)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel("(a) iteration time, predicted less measured (%)")


def _draw_steps(axes: Axes, records: Sequence[CaseRecord], colours: dict[str, str]) -> None:
    pairs = [(pair, colours[record.policy]) for record in records for pair in step_durations_ms(record)]
    _draw_pairs(axes, pairs, 2.5, "log")
    axes.set_xlabel("(b) a layer's forward or backward, measured (ms)")
    axes.set_ylabel("predicted (ms)")


def _draw_pairs(axes: Axes, pairs: Sequence[tuple[tuple[float, float], str]], size: float, scale: str) -> None:
    """(measured, predicted) of each, on both axes alike."""
    axes.set_xscale(scale)
    axes.set_yscale(scale)
    if pairs:
        axes.scatter(
            [measured for (measured, _), _ in pairs],
            [predicted for (_, predicted), _ in pairs],
            s=size,
            color=[colour for _, colour in pairs],
            linewidths=0,
            rasterized=True,
            zorder=2,
        )
        times = [time for pair, _ in pairs for time in pair]
        low, high = (min(times) / 1.5, max(times) * 1.5) if scale == "log" else (0.0, max(times) * 1.1)
        axes.plot([low, high], [low, high], color=looks.FAINT, linewidth=0.6, zorder=1)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
    axes.grid(color=looks.GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def step_durations_ms(record: CaseRecord) -> list[tuple[float, float]]:
    """(measured, predicted) of every step that takes a microsecond or more on both machines."""
    pairs = []
    before = (0, 0)
    for _, measured_ns, predicted_ns in record.steps:
        pair = ((measured_ns - before[0]) / 1e6, (predicted_ns - before[1]) / 1e6)
        before = (measured_ns, predicted_ns)
        if min(pair) >= 0.001:
            pairs.append(pair)
    return pairs
