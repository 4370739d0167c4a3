"""The report's figure: the error of every case, and every layer's time on both machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from vdnnsim.calibration.records import CaseRecord, Verdict
from vdnnsim.figures import looks, page, saving

_ROW_IN, _LEAST_IN = 0.19, 2.0
_STEPS_IN, _STEPS_LEFT_IN = 2.45, 0.55
_WITHIN = 1.0
"""The shaded errors, in percent."""
_MARKER = 3.6
_NOTE = (
    "Hollow: measured to make the traces or the profile. (b) is measured with marks around each kernel and copy, "
    "which take some microseconds."
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


def compose(records: Sequence[CaseRecord], title: str) -> Figure:
    """The figure, not yet written."""
    groups = list(dict.fromkeys(_group(record) for record in records))
    height_in = max(_LEAST_IN, _ROW_IN * len(groups))
    figure = page.new_figure(page.TOP_IN + height_in + page.BOTTOM_IN)
    left_in = page.MARGIN_IN + max(page.text_width_in(figure, name) for name in groups) + 0.1
    errors_in = page.WIDTH_IN - left_in - _STEPS_LEFT_IN - _STEPS_IN - page.MARGIN_IN
    errors = page.add_axes(figure, left_in, page.BOTTOM_IN, errors_in, height_in)
    steps_left_in = left_in + errors_in + _STEPS_LEFT_IN
    steps = page.add_axes(figure, steps_left_in, page.BOTTOM_IN, _STEPS_IN, height_in)
    policies = looks.policy_looks(record.policy for record in records)
    colours = {name: look.colour for name, look in policies.items()}
    _draw_errors(errors, records, groups, colours)
    _draw_steps(steps, records, colours)
    handles: list[Patch | Line2D] = [_marker(colour, filled=True, label=name) for name, colour in colours.items()]
    handles.append(Patch(facecolor=looks.SHADE, label=f"within {_WITHIN:g} %"))
    if any(record.verdict is Verdict.CANNOT_BE_TOLD for record in records):
        handles.append(_marker(looks.FAINT, filled=True, label=_UNTOLD, shape=_CROSS))
    page.dress(figure, title, handles, _NOTE)
    return figure


def _group(record: CaseRecord) -> str:
    return f"{record.network} ({record.batch}), {record.math}"


def _marker(colour: str, filled: bool, label: str = "", shape: str = _DOT) -> Line2D:
    face = colour if filled else "white"
    look = Line2D([], [], linestyle="", marker=shape, markersize=_MARKER, color=colour, label=label, zorder=3)
    look.set_markerfacecolor(face)
    return look


def _draw_errors(axes: Axes, records: Sequence[CaseRecord], groups: list[str], colours: dict[str, str]) -> None:
    axes.axvspan(-_WITHIN, _WITHIN, color=looks.SHADE, linewidth=0, zorder=0)
    axes.axvline(0, color=looks.FAINT, linewidth=0.6, zorder=1)
    policies = list(colours)
    for record in records:
        shape = _CROSS if record.verdict is Verdict.CANNOT_BE_TOLD else _DOT
        marker = _marker(colours[record.policy], record.held_out, shape=shape)
        # policies of one group a little apart, so that equal errors are seen
        shift = 0.5 * ((policies.index(record.policy) + 0.5) / len(policies) - 0.5)
        marker.set_data([100 * record.error], [groups.index(_group(record)) + shift])
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
    axes.set_xscale("log")
    axes.set_yscale("log")
    if pairs:
        axes.scatter(
            [measured for (measured, _), _ in pairs],
            [predicted for (_, predicted), _ in pairs],
            s=2.5,
            color=[colour for _, colour in pairs],
            linewidths=0,
            rasterized=True,
            zorder=2,
        )
        times = [time for pair, _ in pairs for time in pair]
        low, high = min(times) / 1.5, max(times) * 1.5
        axes.plot([low, high], [low, high], color=looks.FAINT, linewidth=0.6, zorder=1)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
    axes.grid(color=looks.GRID, linewidth=0.4)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("(b) a layer's forward or backward, measured (ms)")
    axes.set_ylabel("predicted (ms)")


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
