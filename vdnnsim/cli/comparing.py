"""`vdnnsim compare` and `vdnnsim run`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vdnnsim.cli import completing, options
from vdnnsim.cli.hosts import Host, compare_on_host
from vdnnsim.cli.machine import Machine, on_machine
from vdnnsim.cli.outputs import Outputs, check_targets, tell
from vdnnsim.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from vdnnsim.policies import Policy
    from vdnnsim.results import Comparison, PolicyResult

Policies = Annotated[
    str | None,
    typer.Option(
        "--policies",
        autocompletion=completing.policies,
        help="Comma-separated names, with parameters as in 'offload(which=half, ahead=8)', module:Class of your own, "
        "or a plan's file (.json); or runtimes, papers, all, which stand for several; the paper's when left out.",
    ),
]


@on_machine
def compare_command(
    network: options.Workload,
    gpu: options.Gpu,
    *,
    batch: options.OwnBatch = None,
    policies: Policies = None,
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFile = None,
    traces: options.TraceFolders = None,
    json: options.Json = None,
    csv: options.Csv = None,
    figure: options.Figure = None,
    timeline: options.Timeline = None,
    explain: options.Explain = False,
    power: options.Power = False,
    gpus: options.Gpus = None,
    topology: options.Topology = None,
    start: options.Start = "together",
    all_reduce: options.AllReduce = None,
) -> None:
    """Compare memory policies on one network and batch, or one captured step, with a GPU whose memory is endless."""
    outputs = Outputs(json, csv, figure, timeline)
    outputs.check()
    hardware = {"gpu": gpu, **machine}
    if gpus is not None or topology is not None:
        arguments = {**hardware, "math": math, "weight_gradients": weight_gradients, "trace": trace}
        host = Host(gpus, topology, start, all_reduce)
        compare_on_host(network, batch, _names(policies), {**arguments, "traces": traces or ()}, host, outputs, power)
        return
    if all_reduce is not None:
        raise InvalidInput("--all-reduce: found no --gpus, expected the number of GPUs that sum their gradients")
    comparison = compared(network, batch, policies, hardware, math, weight_gradients, trace, traces)
    drawn = _drawn(comparison) if power else []
    console = outputs.console()
    if console:
        from vdnnsim.report.table import print_comparison
        from vdnnsim.report.trials import print_trials

        print_comparison(comparison, console)
        _print_power(drawn, console)
        for run in comparison.runs:
            if explain and run.result.trials:
                print_trials(run, console)

    def draw(path: Any) -> None:
        from vdnnsim.figures.comparison import comparison_figure

        comparison_figure(comparison, path)

    outputs.write(comparison, console, draw)


@on_machine
def run_command(
    network: options.Workload,
    gpu: options.Gpu,
    policy: options.Policy,
    *,
    batch: options.OwnBatch = None,
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFile = None,
    traces: options.TraceFolders = None,
    json: options.Json = None,
    csv: options.LayersCsv = None,
    figure: options.Figure = None,
    timeline: options.Timeline = None,
    snapshot: options.Snapshot = None,
    chakra: options.Chakra = None,
    explain: options.Explain = False,
    power: options.Power = False,
) -> None:
    """Run one policy: a table of its layers, and its memory over time as a figure."""
    outputs = Outputs(json, csv, figure, timeline, snapshot, chakra)
    outputs.check()
    hardware = {"gpu": gpu, **machine}
    comparison = compared_by_names(network, batch, [policy], hardware, math, weight_gradients, trace, traces)
    run = comparison.runs[0]
    drawn = _drawn(comparison) if power else []
    console = outputs.console()
    if console:
        from vdnnsim.report.table import print_run
        from vdnnsim.report.trials import print_trials

        print_run(run, comparison, console)
        _print_power(drawn, console)
        if explain and run.result.trials:
            print_trials(run, console)

    def draw(path: Any) -> None:
        from vdnnsim.figures.run import run_figure

        run_figure(run, comparison, path)

    outputs.write(comparison, console, draw, "layers_csv")


@on_machine
def memory_map_command(
    network: options.Workload,
    gpu: options.Gpu,
    policy: options.Policy,
    out: Annotated[Path, typer.Option("--out", help="The picture to write: .png, .pdf or .svg.")],
    *,
    batch: options.OwnBatch = None,
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFile = None,
    traces: options.TraceFolders = None,
) -> None:
    """Draw where every block of one policy's iteration lies in memory, and how long, as wide as a paper's column."""
    check_targets({}, {"--out": out})
    hardware = {"gpu": gpu, **machine}
    comparison = compared_by_names(network, batch, [policy], hardware, math, weight_gradients, trace, traces)
    from vdnnsim.figures.memory_map import memory_map
    from vdnnsim.report.terminal import output_console

    memory_map(comparison.runs[0], comparison, out)
    tell(output_console(), "memory map", out)


def _drawn(comparison: Comparison) -> list[PolicyResult]:
    from vdnnsim.report.power import power_of

    return power_of(comparison.gpu, comparison.results)


def _print_power(drawn: list[PolicyResult], console: Console) -> None:
    if drawn:
        from vdnnsim.report.power import print_power

        print_power(drawn, console)


def compared(network: str, batch: int | None, policies: str | None, *setting: Any) -> Comparison:
    """The policies that are named, as `--policies` has them, on what the other options say."""
    return compared_by_names(network, batch, _names(policies), *setting)


def compared_by_names(
    network: str,
    batch: int | None,
    policies: list[str] | None,
    hardware: Mapping[str, Any],
    math: str | None,
    weight_gradients: str,
    trace: Path | None,
    traces: list[Path] | None,
) -> Comparison:
    """The policies of these names, on what the other options say."""
    from vdnnsim.comparing import compare

    arguments: dict[str, Any] = {**hardware, "math": math, "weight_gradients": weight_gradients}
    arguments |= {"trace": trace, "traces": traces or ()}
    named = None if policies is None else [_telling(name) for name in policies]
    return compare(network, batch=batch, policies=named, **arguments)


def _telling(name: str) -> str | Policy:
    """A policy that is sought for long tells how far it is, on stderr."""
    if name.partition("(")[0].strip() != "optimal":
        return name
    from vdnnsim.policies import make_policy
    from vdnnsim.policies.optimal import Optimal

    policy = make_policy(name)
    assert isinstance(policy, Optimal)
    return replace(policy, told=lambda told: print(told, file=sys.stderr))


def _names(policies: str | None) -> list[str] | None:
    if policies is None:
        return None
    from vdnnsim.policies.grammar import split_names

    return split_names(policies, "--policies")
