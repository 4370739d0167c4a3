"""`vdnnsim compare` and `vdnnsim run`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdnnsim.cli import options
from vdnnsim.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from vdnnsim.results import Comparison

STDOUT = "-"


def compare_command(
    network: options.Network,
    batch: options.Batch,
    gpu: options.Gpu,
    policies: Annotated[
        str | None,
        typer.Option("--policies", help="Comma-separated names, or module:Class of your own; all when left out."),
    ] = None,
    capacity: options.Capacity = None,
    link_bandwidth: options.LinkBandwidth = None,
    math: options.Math = "fp32",
    pool: options.Pool = "best-fit",
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFile = None,
    json: options.Json = None,
    csv: options.Csv = None,
    figure: options.Figure = None,
    timeline: options.Timeline = None,
    explain: options.Explain = False,
) -> None:
    """Compare memory policies on one network, batch and GPU with a GPU whose memory is endless."""
    from vdnnsim.study import compare

    sys.path.insert(0, "")  # so that --policies module:Class finds a module in the current folder
    comparison = compare(
        network,
        batch=batch,
        gpu=gpu,
        policies=_names(policies),
        capacity=capacity,
        link_bandwidth=link_bandwidth,
        math=math,
        pool=pool,
        weight_gradients=weight_gradients,
        trace=trace,
    )
    console = _console(quiet=STDOUT in (json, csv))
    if console:
        from vdnnsim.report.table import print_comparison, print_trials

        print_comparison(comparison, console)
        if explain:
            for run in comparison.runs:
                if run.result.trials:
                    print_trials(run, console)
    _write_text(json, comparison, "vdnnsim.report.json_text", "comparison_json", console)
    _write_text(csv, comparison, "vdnnsim.report.csv_text", "comparison_csv", console)
    if figure:
        from vdnnsim.report.figure import comparison_figure

        comparison_figure(comparison, figure)
        _tell(console, "figure", figure)
    _write_timeline(timeline, comparison, console)


def run_command(
    network: options.Network,
    batch: options.Batch,
    gpu: options.Gpu,
    policy: Annotated[str, typer.Option("--policy", help="One policy by name, or module:Class of your own.")],
    capacity: options.Capacity = None,
    link_bandwidth: options.LinkBandwidth = None,
    math: options.Math = "fp32",
    pool: options.Pool = "best-fit",
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFile = None,
    json: options.Json = None,
    csv: options.Csv = None,
    figure: options.Figure = None,
    timeline: options.Timeline = None,
    explain: options.Explain = False,
) -> None:
    """Run one policy: a table of its layers, and its memory over time as a figure."""
    from vdnnsim.study import compare

    sys.path.insert(0, "")
    comparison = compare(
        network,
        batch=batch,
        gpu=gpu,
        policies=[policy],
        capacity=capacity,
        link_bandwidth=link_bandwidth,
        math=math,
        pool=pool,
        weight_gradients=weight_gradients,
        trace=trace,
    )
    run = comparison.runs[0]
    console = _console(quiet=STDOUT in (json, csv))
    if console:
        from vdnnsim.report.table import print_run, print_trials

        print_run(run, comparison, console)
        if explain and run.result.trials:
            print_trials(run, console)
    _write_text(json, comparison, "vdnnsim.report.json_text", "comparison_json", console)
    _write_text(csv, comparison, "vdnnsim.report.csv_text", "comparison_csv", console)
    if figure:
        from vdnnsim.report.figure import run_figure

        run_figure(run, comparison, figure)
        _tell(console, "figure", figure)
    _write_timeline(timeline, comparison, console)


def _names(policies: str | None) -> list[str] | None:
    if policies is None:
        return None
    names = [name.strip() for name in policies.split(",")]
    if not all(names):
        raise InvalidInput(f"--policies: found '{policies}', expected names with commas between them")
    return names


def _console(quiet: bool) -> Console | None:
    if quiet:
        return None
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def _write_text(
    target: str | None, comparison: Comparison, module: str, function: str, console: Console | None
) -> None:
    if target is None:
        return
    import importlib

    make: Callable[[Comparison], str] = getattr(importlib.import_module(module), function)
    if target == STDOUT:
        sys.stdout.write(make(comparison))
        return
    from vdnnsim.files import write_text

    write_text(Path(target), make(comparison))
    _tell(console, "numbers", Path(target))


def _write_timeline(path: Path | None, comparison: Comparison, console: Console | None) -> None:
    if path:
        from vdnnsim.report.chrome_trace import write_timeline

        write_timeline(comparison, path)
        _tell(console, "timeline", path)


def _tell(console: Console | None, what: str, path: Path) -> None:
    if console:
        console.print(f"{what}: {path.resolve()}", soft_wrap=True)
