"""Tables, as a terminal shows them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from vdnnsim.bands import Band
from vdnnsim.metrics import Loss
from vdnnsim.report.table import comparison_table, losses_table, print_comparison, print_run
from vdnnsim.report.trials import print_trials
from vdnnsim.results import Comparison, LayerResult, PolicyRun


def run_of(comparison: Comparison, policy: str) -> PolicyRun:
    return next(run for run in comparison.runs if run.result.policy == policy)


def print_layers(comparison: Comparison, console: Console) -> None:
    print_run(run_of(comparison, "vdnn-dyn"), comparison, console)


def print_tried(comparison: Comparison, console: Console) -> None:
    print_trials(run_of(comparison, "vdnn-dyn"), console)


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


def with_band(comparison: Comparison) -> Comparison:
    """A baseline of 130.1 ms that may be 129.6 to 130.9."""
    result = replace(comparison.runs[0].result, iteration_time_ns=130_149_000, band=Band(129_551_000, 130_949_000))
    return replace(comparison, runs=(replace(comparison.runs[0], result=result),))


def test_a_range_stands_beside_the_iteration_time_where_there_is_one(roomy: Comparison) -> None:
    lines = shown(lambda console: print_comparison(with_band(roomy), console))
    assert next(line for line in lines if line.startswith("baseline(p)")).split()[2:6] == [
        "130.1",
        "129.6",
        "to",
        "130.9",
    ]
    assert any("range" in line for line in lines)
    assert not any("range" in line for line in shown(lambda console: print_comparison(roomy, console)))


def test_a_run_says_its_range(roomy: Comparison) -> None:
    ranged = with_band(roomy)
    lines = shown(lambda console: print_run(ranged.runs[0], ranged, console))
    assert "Iteration: 130.1 ms, 129.6 to 130.9 by the spreads of the measurements." in lines
    assert not any("Iteration:" in line for line in shown(lambda console: print_run(roomy.runs[0], roomy, console)))


@pytest.mark.parametrize("width", [80, 100])
def test_a_row_shows_every_number(tight: Comparison, width: int) -> None:
    lines = shown(lambda console: print_comparison(with_numbers(tight), console), width)
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
    lines = shown(lambda console: print_comparison(tight, console), 120)
    assert lines[0] == "tiny, batch 1, on test-gpu (32.8 KB), fp32, best-fit pool"
    labels = {"published": 0, "modelled": 0}
    for result in tight:
        for label, time_ns in result.kernel_time_ns_by_provenance.items():
            labels[label] += time_ns
    share = 100 * labels["modelled"] / sum(labels.values())
    [line] = [line for line in lines if line.startswith("Provenance")]
    assert line == f"Provenance: modelled (kernel time: {share:.0f} % modelled, {100 - share:.0f} % published)"


def test_the_header_says_how_weight_gradients_are_held(roomy: Comparison) -> None:
    lines = shown(lambda console: print_comparison(replace(roomy, weight_gradients="resident"), console), 120)
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


def terminal(print_it: Callable[[Console], None], width: int) -> list[str]:
    """What a terminal of this width gets, before it breaks lines itself."""
    console = Console(width=width, color_system=None, force_terminal=True, file=io.StringIO())
    print_it(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


NUMBERS = re.compile(r"[0-9]+\.[0-9]+")


@pytest.mark.parametrize("width", [10, 40, 60, 80])
@pytest.mark.parametrize(
    "print_it", [print_comparison, print_layers, print_tried], ids=["policies", "layers", "trials"]
)
def test_a_narrow_terminal_leaves_columns_out_and_cuts_no_number(
    tight: Comparison, width: int, print_it: Callable[[Comparison, Console], None]
) -> None:
    comparison = with_numbers(tight)
    wide = terminal(lambda console: print_it(comparison, console), 300)
    narrow = terminal(lambda console: print_it(comparison, console), width)
    numbers = {number for line in wide for number in NUMBERS.findall(line)}
    assert {number for line in narrow for number in NUMBERS.findall(line)} <= numbers
    assert "…" not in "".join(narrow)
    names = {"baseline(p)", "IMPLICIT_GEMM", "vdnn-all,"} & set(" ".join(wide).replace(":", " ").split())
    assert names <= set(" ".join(narrow).replace(":", " ").split())
    if width >= 60:
        assert max(map(len, narrow)) <= width


def test_what_is_left_out_is_said_on_a_terminal_and_nothing_is_in_a_pipe(tight: Comparison) -> None:
    narrow = terminal(lambda console: print_comparison(with_numbers(tight), console), 60)
    assert "Left out, a wider terminal shows: pinned GB, avg. GB." in narrow
    heads = narrow[1:3]
    assert " ".join(heads[0].split()) == "iter. perf. stall peak offl. what"
    assert not any(line.startswith("Left out") for line in shown(lambda it: print_comparison(tight, it), 60))
    piped = shown(lambda console: print_comparison(with_numbers(tight), console), 60)
    assert next(line for line in piped if line.startswith("policy")).split()[2:6] == ["ms", "%", "ms", "GB"]
    assert len(next(line for line in piped if line.startswith("─"))) > 60


@pytest.mark.parametrize(
    "print_it", [print_comparison, print_layers, print_tried], ids=["policies", "layers", "trials"]
)
@pytest.mark.parametrize("width", [40, 60, 100])
def test_no_line_ends_in_blanks(tight: Comparison, print_it: Callable[[Comparison, Console], None], width: int) -> None:
    file = io.StringIO()
    print_it(tight, Console(width=width, file=file))
    assert [line for line in file.getvalue().splitlines() if line != line.rstrip()] == []


def test_layers_with_totals(roomy: Comparison) -> None:
    run = run_of(roomy, "vdnn-all(p)")
    algorithms = {"forward": "FFT", "backward_data": "GEMM", "backward_filter": "FFT"}
    layers = (
        LayerResult(
            *("conv", "CONV", False, 12_300_000, 45_600_000, 50_000_000, 700_000, 0, 99_000_000, 8_000, algorithms),
            {"in data": 500_000, "late conv": 200_000},
        ),
        LayerResult("relu", "ACTV", False, 100_000, 200_000, 300_000, 0, 0, 0, 9_990_000, {"forward": "default"}, {}),
        LayerResult("pool", "POOL", True, 1_000_000, 2_000_000, 3_000_000, 0, 1_234_000_000, 0, 5_000_000, {}, {}),
    )
    result = replace(
        run.result, layers=layers, stall_ns=700_000, offloaded_bytes=1_234_000_000, prefetched_bytes=99_000_000
    )
    lines = shown(lambda console: print_run(replace(run, result=result), roomy, console), 100)
    assert lines[0] == "vdnn-all(p): tiny, batch 1, on test-gpu (1.0 MB), fp32, best-fit pool"
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert rows["conv"] == [
        "CONV",
        "12.30",
        "45.60",
        "0.70",
        "0.0",
        "99.0",
        "0.008",
        "in",
        "data,",
        "late",
        "conv",
        "FW:FFT",
        "D:GEMM",
    ]
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


def test_losses_stand_below_the_policies_and_add_up(roomy: Comparison) -> None:
    lines = shown(lambda console: print_comparison(roomy, console), 100)
    title = next(number for number, line in enumerate(lines) if line.startswith("What an iteration takes longer"))
    rows = [line.split() for line in lines[title + 4 : title + 4 + len(roomy)]]
    assert [row[0] for row in rows] == [result.policy for result in roomy]
    for row, result in zip(rows, roomy, strict=True):
        loss_ms, *parts_ms = map(float, row[1:])
        assert loss_ms == pytest.approx(sum(parts_ms), abs=1e-5)
        assert parts_ms == pytest.approx([part_ns / 1e6 for part_ns in result.loss[:6]], abs=1e-5)


def test_what_runs_again_has_a_column_where_anything_does_and_no_more_decimals_than_times_have_twice(
    roomy: Comparison,
) -> None:
    run = roomy.runs[0]
    result = replace(run.result, iteration_time_ns=400_000_000, loss=Loss(0, 0, 0, 0, 0, 0, 4_000))
    table = losses_table(replace(roomy, runs=(replace(run, result=result),)))
    assert [str(column.header) for column in table.columns][2:4] == ["algo-\nrithms", "run\nagain"]
    assert [str(cell) for cell in table.columns[3].cells] == ["0.004"]


def test_the_oracle_alone_has_no_table_of_losses(roomy: Comparison) -> None:
    alone = replace(roomy, runs=tuple(run for run in roomy.runs if run.result.policy == "oracle"))
    assert "longer" not in " ".join(shown(lambda console: print_comparison(alone, console), 100))


def test_stalls_are_said_to_be_in_the_times_of_layers_where_there_are_any(roomy: Comparison) -> None:
    def says(policy: str) -> bool:
        run = run_of(roomy, policy)
        return "with stalls" in " ".join(shown(lambda console: print_run(run, roomy, console), 100))

    assert says("vdnn-all(p)")
    assert not says("oracle")
