"""Tables, as a terminal shows them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from vdnnsim.report.table import comparison_table, print_comparison, print_run, print_trials
from vdnnsim.results import Comparison, LayerResult, PolicyRun


def shown(print_it: Callable[[Console], None], width: int = 100) -> list[str]:
    console = Console(width=width, color_system=None, record=True, file=io.StringIO())
    print_it(console)
    return [line.rstrip() for line in console.export_text().splitlines()]


def with_numbers(comparison: Comparison) -> Comparison:
    """The same policies with numbers that are easy to read."""
    runs = [
        replace(
            run,
            result=replace(
                run.result,
                iteration_time_ns=1_234_567_890 + index,
                performance=0.75,
                stall_ns=12_345_678,
                peak_bytes=12_340_000_000,
                average_bytes=5_678_000_000,
                offloaded_bytes=3_456_000_000,
                pinned_host_bytes=3_456_000_000,
                needed_bytes=23_150_000_000,
            ),
        )
        for index, run in enumerate(comparison.runs)
    ]
    return replace(comparison, runs=tuple(runs))


@pytest.mark.parametrize("width", [80, 100])
def test_a_row_shows_every_number(tight: Comparison, width: int) -> None:
    lines = shown(lambda console: console.print(comparison_table(with_numbers(tight))), width)
    row = next(line.split() for line in lines if line.startswith("vdnn-dyn"))
    assert row == ["vdnn-dyn", "yes", "1234.6", "75.0", "12.3", "12.34", "5.68", "3.46", "3.46", "host"]
    failed = next(line.split() for line in lines if line.startswith("baseline(p)"))
    assert failed[:3] == ["baseline(p)", "NO", "1234.6"]
    assert failed[-3:] == ["needs", "23.15", "GB"]
    assert not any("…" in line for line in lines)


def test_small_networks_have_units_of_their_size(tight: Comparison) -> None:
    """The most is 38 KB: nothing like 0.000038 GB, and "compute" is not broken at 80 columns."""
    lines = shown(lambda console: print_comparison(tight, console), 80)
    assert lines[2].split() == ["policy", "trains", "ms", "%", "ms", "KB", "KB", "KB", "KB", "binds"]
    assert any(line.endswith("; KB: 10^3 bytes") for line in lines)
    [row] = [line for line in lines if line.startswith("oracle") and "yes" in line]
    assert row.split()[-1] in ("host", "compute")
    assert f"{tight['oracle'].peak_bytes / 1000:.2f}" in row
    trials = shown(lambda console: print_trials(run_of(tight, "vdnn-dyn"), console))
    assert any(line.endswith("peak KB") for line in trials)


def test_the_header_says_what_was_simulated(tight: Comparison) -> None:
    lines = shown(lambda console: console.print(comparison_table(tight)), 120)
    assert lines[0] == "tiny, batch 1, on test-gpu (32.8 KB), fp32, best-fit pool"
    labels = {"published": 0, "modelled": 0}
    for result in tight:
        for label, time_ns in result.kernel_time_ns_by_provenance.items():
            labels[label] += time_ns
    share = 100 * labels["modelled"] / sum(labels.values())
    [line] = [line for line in lines if line.startswith("Provenance")]
    assert line == f"Provenance: modelled (kernel time: {share:.0f} % modelled, {100 - share:.0f} % published)"


def test_the_header_says_how_weight_gradients_are_held(roomy: Comparison) -> None:
    lines = shown(lambda console: console.print(comparison_table(replace(roomy, weight_gradients="resident"))), 120)
    assert lines[0] == "tiny, batch 1, on test-gpu (1.0 MB), fp32, best-fit pool, weight gradients: resident"


def test_untrainable_numbers_are_dim_and_the_mark_is_not(tight: Comparison) -> None:
    console = Console(width=100, force_terminal=True, color_system="standard", record=True, file=io.StringIO())
    console.print(comparison_table(tight))
    text = console.export_text(styles=True)
    [failed] = [line for line in text.splitlines() if "baseline(p)" in line]
    assert "\x1b[1;31mNO" in failed
    assert failed.count("\x1b[2m") == 7
    [trains] = [line for line in text.splitlines() if "vdnn-dyn" in line]
    assert "\x1b[2m" not in trains


def test_each_policy_has_its_reason_below(tight: Comparison) -> None:
    text = " ".join(" ".join(shown(lambda console: print_comparison(tight, console), 80)).split())
    for result in tight:
        finding = result.verdict if result.trainable else f"does not train: {result.reason}"
        assert f"{result.policy} {' '.join(finding.split())}" in text


def test_brackets_in_names_are_not_markup(roomy: Comparison) -> None:
    run = roomy.runs[0]
    odd = replace(roomy, network="[red]net[/red]", runs=(replace(run, result=replace(run.result, policy="[bold]p")),))
    lines = shown(lambda console: print_comparison(odd, console))
    assert lines[0].startswith("[red]net[/red], batch 1")
    assert sum(line.startswith("[bold]p ") for line in lines) == 2


def test_narrow_terminals_lose_no_line(tight: Comparison) -> None:
    for width in (40, 60):
        lines = shown(lambda console: print_comparison(tight, console), width)
        assert max(len(line) for line in lines) <= width


def run_of(comparison: Comparison, policy: str) -> PolicyRun:
    return next(run for run in comparison.runs if run.result.policy == policy)


def test_layers_with_totals(roomy: Comparison) -> None:
    run = run_of(roomy, "vdnn-all(p)")
    algorithms = {"forward": "FFT", "backward_data": "GEMM", "backward_filter": "FFT"}
    layers = (
        LayerResult(
            "conv", "CONV", False, 12_300_000, 45_600_000, 50_000_000, 700_000, 0, 99_000_000, 8_000, algorithms
        ),
        LayerResult("relu", "ACTV", False, 100_000, 200_000, 300_000, 0, 0, 0, 9_990_000, {"forward": "default"}),
        LayerResult("pool", "POOL", True, 1_000_000, 2_000_000, 3_000_000, 0, 1_234_000_000, 0, 5_000_000, {}),
    )
    result = replace(
        run.result, layers=layers, stall_ns=700_000, offloaded_bytes=1_234_000_000, prefetched_bytes=99_000_000
    )
    lines = shown(lambda console: print_run(replace(run, result=result), roomy, console), 100)
    assert lines[0] == "vdnn-all(p): tiny, batch 1, on test-gpu (1.0 MB), fp32, best-fit pool"
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["conv"] == ["CONV", "12.30", "45.60", "0.70", "0.0", "99.0", "0.008", "FW:FFT", "D:GEMM"]
    assert rows["relu"] == ["ACTV", "0.10", "0.20", "0.00", "0.0", "0.0", "9.990"]
    assert rows["pool"] == ["POOL", "1.00", "2.00", "0.00", "1234.0", "0.0", "5.000"]
    assert rows["total"] == ["13.40", "47.80", "0.70", "1234.0", "99.0"]


def test_trials_in_order_with_reasons(tight: Comparison) -> None:
    run = run_of(tight, "vdnn-dyn")
    lines = shown(lambda console: print_trials(run, console), 100)
    rows = [line.split() for line in lines if line[:2] in ("1 ", "2 ", "3 ", "4 ", "5 ")]
    trials = [" ".join(row[1:-3]) for row in rows[:5]]
    assert trials == [trial.title for trial in run.result.trials]
    assert [row[-3] for row in rows[:5]] == ["fits", "rejected", "rejected", "rejected", "taken"]
    assert [row[-2] for row in rows[:5]] == [f"{trial.iteration_time_ns / 1e6:.5f}" for trial in run.result.trials]
    text = " ".join(" ".join(lines).split())
    for number in (2, 3, 4):
        assert f"{number} rejected: {run.result.trials[number - 1].reason}" in text


def test_algorithms_that_are_not_the_fastest_are_listed(tight: Comparison) -> None:
    run = run_of(tight, "vdnn-dyn")
    lines = shown(lambda console: print_trials(run, console), 100)
    listed = {tuple(line.split()[:4]) for line in lines if "IMPLICIT_GEMM" in line}
    slower = {(layer, pass_) for (layer, pass_), algorithm in run.plan.algorithms.items() if algorithm[0] == "I"}
    assert slower
    assert listed == {(layer, pass_, "FFT", "IMPLICIT_GEMM") for layer, pass_ in slower}


def test_nothing_is_listed_where_everything_is_fastest(roomy: Comparison) -> None:
    lines = shown(lambda console: print_trials(run_of(roomy, "vdnn-dyn"), console))
    assert lines[-1] == "Every pass runs its fastest algorithm."


def test_a_policy_without_trials_says_so(roomy: Comparison) -> None:
    lines = shown(lambda console: print_trials(run_of(roomy, "oracle"), console))
    assert lines == ["oracle decides without trying anything."]
