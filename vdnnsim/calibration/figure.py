"""The report's figure: the error of every case, and every layer's time on both machines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vdnnsim.calibration.records import CaseRecord
from vdnnsim.files import whole_file

_POLICY_COLOURS = {
    "baseline(p)": "#4c4c4c",
    "vdnn-all(m)": "#9ecae1",
    "vdnn-all(p)": "#2171b5",
    "vdnn-conv(m)": "#fdae6b",
    "vdnn-conv(p)": "#d94801",
    "vdnn-dyn": "#238b45",
}


def draw_errors(records: Sequence[CaseRecord], path: Path) -> None:
    """Left, predicted over measured iteration time of each case in per cent; right, each step's measured and predicted
    time, all cases together. Held-out cases are filled."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    groups = list(dict.fromkeys((record.network, record.batch, record.math) for record in records))
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(12, 0.28 * len(groups) + 3), layout="constrained")
        left, right = figure.subplots(1, 2)
        for policy in dict.fromkeys(record.policy for record in records):
            own = [record for record in records if record.policy == policy]
            colour = _POLICY_COLOURS.get(policy, "#756bb1")
            left.scatter(
                [100 * record.error for record in own],
                [groups.index((record.network, record.batch, record.math)) for record in own],
                s=28,
                edgecolors=colour,
                facecolors=[colour if record.held_out else "none" for record in own],
                label=policy,
            )
            points = [pair for record in own for pair in step_durations_ms(record)]
            right.scatter([one for one, _ in points], [two for _, two in points], s=4, color=colour, linewidths=0)
        left.axvspan(-1, 1, color="#e5f5e0", zorder=0)
        left.axvline(0, color="#999999", linewidth=0.8)
        left.set_yticks(range(len(groups)), [f"{network} ({batch}), {math}" for network, batch, math in groups])
        left.invert_yaxis()
        left.set_xlabel(
            "error of the iteration time, predicted - measured (%)\n"
            "shaded: within 1 %; open: measurements that the traces or the profile were made from"
        )
        left.legend(fontsize=7, loc="best")
        right.set_xscale("log")
        right.set_yscale("log")
        low, high = right.get_xlim()
        right.plot([low, high], [low, high], color="#999999", linewidth=0.8, zorder=0)
        right.set_xlabel(
            "time of a layer's forward or backward (ms), measured with marks\n"
            "around each kernel and copy, which take some microseconds"
        )
        right.set_ylabel("predicted (ms)")
        with whole_file(path) as temporary:
            figure.savefig(temporary, dpi=130, format=path.suffix[1:] or "png")


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
