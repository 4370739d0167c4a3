"""The report's figure: the error of every case, and every layer's time on both machines."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    from vdnnsim.calibration.step_records import StepRecord

_ROW_IN, _LEAST_IN = 0.19, 2.0
_CASE_IN = 0.035
"""Room for each policy in a row, where they are many."""
_STEPS_IN, _STEPS_LEFT_IN = 2.45, 0.55
_WITHIN = 1.0
"""The shaded errors, in percent."""
_MARKER = 3.6
_SPREAD, _STEPS_SPREAD = 0.5, 0.8
"""Of a row's height what its policies lie apart."""
_NOTE = (
    "Hollow: measured to make the traces or the profile. (b) is measured with marks around each kernel and copy, "
    "which take some microseconds."
)
_STEPS_NOTE = (
    "Hollow: the host binds, decided before the case was measured. Policies of one colour differ in how far ahead "
    "copies come back, and in how much may be under way."
)
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
    page_ = _page(records, {record.policy: record.policy for record in records})
    _draw_errors(page_.left, records, page_, [record.held_out for record in records], _SPREAD)
    _draw_steps(page_.right, records, page_.colours)
    return _dressed(page_, records, title, _NOTE)


def compose_steps(records: Sequence[StepRecord], title: str) -> Figure:
    """The figure of steps by plans, not yet written."""
    page_ = _page(records, {record.policy: family_of(record.policy) for record in records}, _CASE_IN)
    _draw_errors(page_.left, records, page_, [not one.predicted.host_bound for one in records], _STEPS_SPREAD)
    page_.left.set_xlabel("(a) step time, predicted less measured (%)")
    peaks = [(pair, page_.colour_of(record)) for record in records if (pair := peaks_bytes(record))]
    in_gigabytes = any(max(pair) >= 1e9 for pair, _ in peaks)
    unit, size = ("GB", 1e9) if in_gigabytes else ("MB", 1e6)
    pairs = [((measured / size, predicted / size), colour) for (measured, predicted), colour in peaks]
    _draw_pairs(page_.right, pairs, 12.0, "linear")
    page_.right.locator_params(nbins=6)
    page_.right.set_xlabel(f"(b) peak of memory, measured ({unit})")
    page_.right.set_ylabel(f"predicted ({unit})")
    return _dressed(page_, records, title, _STEPS_NOTE)


def family_of(policy: str) -> str:
    """What a policy is drawn as: those of `offload` that differ in more than what leaves look the same."""
    name, _, rest = policy.partition("(")
    which = re.search(r"which=([^,)]+)", rest)
    return f"offload {which[1] if which else 'all'}" if name == "offload" else policy


def peaks_bytes(record: StepRecord) -> tuple[int, int] | None:
    """(measured, predicted) bytes that the allocator held at most, or where nobody counts them those asked for."""
    if record.reserved_bytes is not None:
        return record.reserved_bytes, record.predicted.reserved_bytes
    if record.requested_bytes is not None:
        return record.requested_bytes, record.predicted.requested_bytes
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
    """A page with two panels, the groups that (a) has a row for, what each policy is drawn as, and the colours."""

    figure: Figure
    left: Axes
    right: Axes
    groups: list[str]
    drawn_as: Mapping[str, str]
    colours: dict[str, str]

    def colour_of(self, record: Case) -> str:
        return self.colours[self.drawn_as[record.policy]]


def _page(records: Sequence[Case], drawn_as: Mapping[str, str], case_in: float = 0.0) -> _Page:
    groups = list(dict.fromkeys(record.group for record in records))
    height_in = max(_LEAST_IN, max(_ROW_IN, case_in * len(drawn_as)) * len(groups))
    figure = page.new_figure(page.TOP_IN + page.LEGEND_ROW_IN * bool(case_in) + height_in + page.BOTTOM_IN)
    left_in = page.MARGIN_IN + max(page.text_width_in(figure, name) for name in groups) + 0.1
    errors_in = page.WIDTH_IN - left_in - _STEPS_LEFT_IN - _STEPS_IN - page.MARGIN_IN
    left = page.add_axes(figure, left_in, page.BOTTOM_IN, errors_in, height_in)
    steps_left_in = left_in + errors_in + _STEPS_LEFT_IN
    right_in = min(height_in, _STEPS_IN) if case_in else height_in
    right = page.add_axes(figure, steps_left_in, page.BOTTOM_IN + height_in - right_in, _STEPS_IN, right_in)
    looked = looks.policy_looks(drawn_as.values())
    return _Page(figure, left, right, groups, drawn_as, {name: look.colour for name, look in looked.items()})


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


def _draw_errors(axes: Axes, records: Sequence[Case], page_: _Page, filled: Sequence[bool], spread: float) -> None:
    groups, policies = page_.groups, list(page_.drawn_as)
    axes.axvspan(-_WITHIN, _WITHIN, color=looks.SHADE, linewidth=0, zorder=0)
    axes.axvline(0, color=looks.FAINT, linewidth=0.6, zorder=1)
    for record, full in zip(records, filled, strict=True):
        shape = _CROSS if record.verdict is Verdict.CANNOT_BE_TOLD else _DOT
        marker = _marker(page_.colour_of(record), full, shape=shape)
        # policies of one group a little apart, so that equal errors are seen
        shift = spread * ((policies.index(record.policy) + 0.5) / len(policies) - 0.5)
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
