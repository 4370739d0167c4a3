"""Tables for terminals: the comparison, and one policy layer by layer.

Texts are never read as rich's markup, so that a name with brackets stays what it is. `print_table` keeps numbers whole
where columns do not fit; which of them can be spared is said beside each table.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vdnnsim.policies.registry import RECALLED
from vdnnsim.report.columns import FAILED, decimals_of, number_column, plain_table
from vdnnsim.report.terminal import print_items, print_table, print_text
from vdnnsim.report.words import band_ms, byte_unit, distances, link, provenance, seen, subject, what_binds
from vdnnsim.results import Comparison, LayerResult, PolicyResult, PolicyRun
from vdnnsim.units import format_ms

_PASS_LETTERS = {"forward": "F", "backward_data": "D", "backward_filter": "W", "backward": "B", "backward_sum": "S"}
_ONLY_WAY = "default"
_BANDS = "range: what the spreads of the measurements leave open"
_SPARE = ("pinned", "alloc.", "avg.", "offl.", "stall")
_SPARE_OF_LOSSES = ("synchr.", "host")
_SPARE_OF_LAYERS = ("reuse", "pref.", "offl.", "kind", "stalled by")
_STALLS = "Forw., backw.: with stalls. Stalled by: the copies waited for; late: fetched too late."
_CLOSER = 2
"""So many decimals more than an iteration's time has its loss at most: what is smaller is no loss."""
_LOSS_HEADINGS = {
    "algorithms_ns": "algo-\nrithms",
    "again_ns": "run\nagain",
    "copies_out_ns": "copies\nout",
    "copies_in_ns": "copies\nin",
    "late_fetches_ns": "late\nfetches",
    "host_ns": "host",
    "synchronise_ns": "synchr.",
}
_FREE = 0.05
"""With such a share of the memory free a step finds room however segments are cut up (docs/pytorch.md)."""
_TIGHT = (
    f"With less than {100 * _FREE:.0f} % free another process, which cuts its segments up otherwise, may find no room: "
    "{policies}"
)
_IDLE = (
    "Nothing leaves under {policies}: all finds room, or their parameters let nothing leave (vdnnsim list policies has "
    "them)"
)
_LEGEND = "perf.: relative to the oracle; avg.: over time; {unit}: 10^{exponent} bytes"
_LEGEND_OF_CAPTURES = (
    "perf.: relative to the oracle; peak: as asked for; alloc., reserv.: what PyTorch's allocator gives and holds; "
    "{unit}: 10^{exponent} bytes"
)


def comparison_table(comparison: Comparison) -> Table:
    """One row per policy. What does not train is marked, says what capacity it needs, and shows in dim letters the
    numbers of a memory that has room. Of captured steps it says what PyTorch's allocator gives and holds."""
    results = comparison.results
    unit, unit_bytes = _unit(comparison)
    table = plain_table()
    table.add_column("policy", no_wrap=True)
    table.add_column("trains", no_wrap=True)
    times_ms = [result.iteration_time_ns / 1e6 for result in results]
    peaks = [result.peak_bytes / unit_bytes for result in results]
    offloaded = [result.offloaded_bytes / unit_bytes for result in results]
    pinned = [result.pinned_host_bytes / unit_bytes for result in results]
    numbers = [
        number_column(table, "iter.\nms", times_ms),
        *_bands(table, results),
        number_column(table, "perf.\n%", [100 * result.performance for result in results], most_decimals=1),
        number_column(table, "stall\nms", [result.stall_ns / 1e6 for result in results], beside=times_ms),
        number_column(table, f"peak\n{unit}", peaks),
        *_beside_the_peak(table, results, peaks, unit, unit_bytes),
        number_column(table, f"offl.\n{unit}", offloaded, beside=peaks),
        number_column(table, f"pinned\n{unit}", pinned, beside=peaks),
        *_on_nvme(table, results, unit, unit_bytes),
        *_rates(table, comparison),
    ]
    table.add_column("what\nbinds", overflow="fold")
    for row, result in enumerate(results):
        dim = "" if result.trainable else "dim"
        table.add_row(
            Text(result.policy),
            Text("yes") if result.trainable else Text("NO", FAILED),
            *(Text(column[row], dim) for column in numbers),
            Text(what_binds(result), "" if result.trainable else FAILED),
        )
    return table


def _beside_the_peak(
    table: Table, results: Sequence[PolicyResult], peaks: Sequence[float], unit: str, unit_bytes: int
) -> list[list[str]]:
    """The average, or of captured steps the peaks of what is allocated and reserved."""
    memory = [result.memory for result in results if result.memory]
    if len(memory) < len(results):
        averages = [result.average_bytes / unit_bytes for result in results]
        return [number_column(table, f"avg.\n{unit}", averages, beside=peaks)]
    return [
        number_column(table, f"alloc.\n{unit}", [own.allocated_bytes / unit_bytes for own in memory], beside=peaks),
        number_column(table, f"reserv.\n{unit}", [own.reserved_bytes / unit_bytes for own in memory], beside=peaks),
    ]


def _on_nvme(table: Table, results: Sequence[PolicyResult], unit: str, unit_bytes: int) -> list[list[str]]:
    """What was written to NVMe, where anything was."""
    if not any(result.nvme_bytes for result in results):
        return []
    return [number_column(table, f"NVMe\n{unit}", [result.nvme_bytes / unit_bytes for result in results])]


def _rates(table: Table, comparison: Comparison) -> list[list[str]]:
    """How much of the batch is trained in a second, of captured steps whose setting has one."""
    rates = [comparison.units_per_s(result) for result in comparison.results]
    if comparison.captured is None or None in rates:
        return []
    return [number_column(table, "batch\n/s", [rate for rate in rates if rate is not None], most_decimals=1)]


def _bands(table: Table, results: Sequence[PolicyResult]) -> list[list[str]]:
    """A column of the ranges of the iteration times, where there are any."""
    if not any(result.band for result in results):
        return []
    table.add_column("range\nms", justify="right", no_wrap=True)
    longest_ms = max(result.iteration_time_ns for result in results) / 1e6
    return [[band_ms(result.band, decimals_of(longest_ms)) if result.band else "" for result in results]]


def print_comparison(comparison: Comparison, console: Console) -> None:
    """The table, and under it what binds each policy, or why it does not train."""
    print_text(console, subject(comparison), "bold")
    print_table(console, comparison_table(comparison), _SPARE)
    print_text(console, "\n".join(comparison_notes(comparison)), "dim")
    _print_losses(comparison, console)
    print_items(console, ((result.policy, _finding(result)) for result in comparison.results))
    _print_distances(comparison, console)
    if not all(result.trainable for result in comparison.results):
        print_text(console, "Numbers of policies that do not train: as they would run if the memory had room.", "dim")


def comparison_text(comparison: Comparison) -> str:
    """The same as text, without colours, as wide as the terminal."""
    text = StringIO()
    print_comparison(comparison, Console(file=text, force_terminal=False, highlight=False))
    return text.getvalue().rstrip("\n")


def losses_table(comparison: Comparison) -> Table:
    """One row per policy: what its iteration takes longer than the oracle's, by cause, in ms."""
    losses = [result.loss for result in comparison.results]
    largest = [max(abs(part) for loss in losses for part in (loss.total_ns, *loss)) / 1e6]
    most = decimals_of(max(result.iteration_time_ns for result in comparison.results) / 1e6) + _CLOSER
    table = plain_table()
    table.add_column("policy", no_wrap=True)
    columns = [number_column(table, "loss\nms", [loss.total_ns / 1e6 for loss in losses], None, largest, most)]
    for name, heading in _LOSS_HEADINGS.items():
        if name == "again_ns" and not any(loss.again_ns for loss in losses):
            continue
        if comparison.captured and name == "algorithms_ns":  # there is no choice of them
            if not any(loss.algorithms_ns for loss in losses):
                continue
            heading = "slower\nkernels"
        parts = [getattr(loss, name) / 1e6 for loss in losses]
        columns.append(number_column(table, heading, parts, None, largest, most))
    for row, result in enumerate(comparison.results):
        dim = "" if result.trainable else "dim"
        table.add_row(Text(result.policy), *(Text(column[row], dim) for column in columns))
    return table


def _print_losses(comparison: Comparison, console: Console) -> None:
    if any(part for result in comparison.results for part in result.loss):
        print_text(console, "\nWhat an iteration takes longer than the oracle's, and why", "bold")
        print_table(console, losses_table(comparison), _SPARE_OF_LOSSES)


def _print_distances(comparison: Comparison, console: Console) -> None:
    """How far each policy is from the optimum, where one was sought."""
    lines = distances(comparison)
    if lines:
        print_text(console, "How far from the best possible", "bold")
        print_items(console, ((policy, Text(line)) for policy, line in lines))


def comparison_notes(comparison: Comparison) -> list[str]:
    """What stands below the table: the link, where the numbers are from, what headings mean."""
    unit, unit_bytes = _unit(comparison)
    words = _LEGEND_OF_CAPTURES if comparison.captured else _LEGEND
    legend = words.format(unit=unit, exponent=len(str(unit_bytes)) - 1)
    measured = [seen(comparison.captured)] if comparison.captured else []
    bands = [_BANDS] if any(result.band for result in comparison.results) else []
    left_out = [f"Left out: {'; '.join(comparison.left_out)}."] if comparison.left_out else []
    named = (RECALLED[result.policy] for result in comparison.results if result.policy in RECALLED)
    recalled = [f"Rules recalled, not checked: {', '.join(found)}."] if (found := list(named)) else []
    labels = {run.plan.schedule.compression.label for run in comparison.runs if run.plan.schedule.compression}
    squeezed = [f"Compressed copies, by an engine that no GPU has: {'; '.join(sorted(labels))}."] if labels else []
    waited = [f"{format_ms(one.nvme_stall_ns)} ({one.policy})" for one in comparison.results if one.nvme_stall_ns]
    drive = [f"Of the stalls, for what is on NVMe: {', '.join(waited)}."] if waited else []
    faults = {run.plan.schedule.paging.label for run in comparison.runs if run.plan.schedule.paging}
    paged = [f"Page faults: {'; '.join(sorted(faults))}."] if faults else []
    tight = [run.result.policy for run in comparison.runs if comparison.in_segments and _tight(run, comparison)]
    segments = [_TIGHT.format(policies=", ".join(tight))] if tight else []
    idle = [run.result.policy for run in comparison.runs if comparison.captured and _idle(run)]
    staying = [_IDLE.format(policies=", ".join(idle))] if idle else []
    told = (
        measured,
        [link(comparison), provenance(comparison), legend],
        staying,
        bands,
        segments,
        recalled,
        squeezed,
        drive,
        paged,
        left_out,
    )
    return [line for lines in told for line in lines]


def _idle(run: PolicyRun) -> bool:
    """Whether a policy that was to make room makes none, and did not choose so."""
    result, schedule = run.result, run.plan.schedule
    chose = run.plan.endless or result.trials or result.policy.startswith("baseline")
    return not (chose or schedule.actions or schedule.own_copies or result.offloaded_bytes or result.loss.again_ns)


def _tight(run: PolicyRun, comparison: Comparison) -> bool:
    """Whether a plan fits and PyTorch's allocator holds nearly all that there is."""
    held_bytes = run.result.memory.reserved_bytes if run.result.memory else 0
    return run.result.trainable and not run.plan.endless and held_bytes > (1 - _FREE) * comparison.capacity_bytes


def _unit(comparison: Comparison) -> tuple[str, int]:
    return byte_unit(max((result.peak_bytes for result in comparison.results), default=0))


def _finding(result: PolicyResult) -> Text:
    if result.trainable:
        return Text(result.verdict)
    return Text.assemble(("does not train: ", FAILED), result.reason)


def layers_table(run: PolicyRun) -> Table:
    """One row per layer, with totals."""
    result = run.result
    layers = result.layers
    table = plain_table()
    forward_ms = sum(layer.forward_ns for layer in layers) / 1e6
    backward_ms = sum(layer.backward_ns for layer in layers) / 1e6
    stall_ms, times_ms = result.stall_ns / 1e6, (forward_ms, backward_ms)
    out_mb, in_mb = result.offloaded_bytes / 1e6, result.prefetched_bytes / 1e6
    table.add_column("layer", "total", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    numbers = [
        number_column(table, "forw.\nms", [layer.forward_ns / 1e6 for layer in layers], forward_ms, times_ms),
        number_column(table, "backw.\nms", [layer.backward_ns / 1e6 for layer in layers], backward_ms, times_ms),
        number_column(table, "stall\nms", [layer.stall_ns / 1e6 for layer in layers], stall_ms, times_ms),
        number_column(table, "offl.\nMB", [layer.offloaded_bytes / 1e6 for layer in layers], out_mb, (in_mb,)),
        number_column(table, "pref.\nMB", [layer.prefetched_bytes / 1e6 for layer in layers], in_mb, (out_mb,)),
        number_column(table, "reuse\nms", [layer.reuse_distance_ns / 1e6 for layer in layers]),
    ]
    table.add_column("stalled by", no_wrap=True)
    algorithms = [algorithms_of(layer) for layer in layers]
    if any(algorithms):
        table.add_column("algorithms", overflow="fold")
    table.show_footer = True
    for row, layer in enumerate(layers):
        cells = (Text(column[row]) for column in numbers)
        stalled_by = ", ".join(layer.stalls_by_copy_ns)
        last = [Text(algorithms[row])] if any(algorithms) else []
        table.add_row(Text(layer.layer), Text(layer.kind), *cells, Text(stalled_by), *last)
    return table


def print_run(run: PolicyRun, comparison: Comparison, console: Console) -> None:
    """One policy layer by layer, with totals."""
    result = run.result
    print_text(console, f"{result.policy}: {subject(comparison)}", "bold")
    print_table(console, layers_table(run), _SPARE_OF_LAYERS)
    print_text(console, provenance(comparison), "dim")
    legend = "Algorithms: F forward, D gradient of the data, W of the weights; S sum of a fork's gradients."
    if any(algorithms_of(layer) for layer in result.layers):
        print_text(console, legend, "dim")
    if result.stall_ns:
        print_text(console, _STALLS, "dim")
    print_text(console, "Reuse: from the end of the layer's forward to the start of its backward.", "dim")
    if result.band:
        decimals = decimals_of(result.iteration_time_ns / 1e6)
        iteration_ms = f"{result.iteration_time_ns / 1e6:.{decimals}f} ms, {band_ms(result.band, decimals)}"
        print_text(console, f"Iteration: {iteration_ms} by the spreads of the measurements.")
    print_items(console, [(result.policy, _finding(result))])


def algorithms_of(layer: LayerResult) -> str:
    """The algorithms of a layer's passes, those of one name together; nothing where there is no choice."""
    letters: dict[str, str] = {}
    for pass_, algorithm in layer.algorithms.items():
        if algorithm != _ONLY_WAY:
            letters[algorithm] = letters.get(algorithm, "") + _PASS_LETTERS.get(pass_, pass_)
    return " ".join(f"{passes}:{algorithm}" for algorithm, passes in letters.items())
