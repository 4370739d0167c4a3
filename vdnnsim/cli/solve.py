"""`vdnnsim solve`: the largest batch, the smallest memory, the slowest link."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdnnsim.cli import options
from vdnnsim.cli.machine import Machine, on_machine

if TYPE_CHECKING:
    from vdnnsim.sweep.solve import Answer, Setting

app = typer.Typer(
    help="Search for the largest batch, the smallest memory or the slowest link with which a policy still does.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
_Loss = Annotated[
    str | None, typer.Option("--loss", help="What may be lost against the oracle: 5%. Fitting is enough when left out.")
]
_LinkLoss = Annotated[str, typer.Option("--loss", help="What may be lost against the oracle.")]


@app.command("largest-batch")
@on_machine
def largest_batch_command(
    network: options.Workload,
    gpu: options.Gpu,
    policy: options.Policy,
    *,
    loss: _Loss = None,
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFiles = None,
    traces: options.TraceFolders = None,
) -> None:
    """The largest batch that trains, among those that were timed and those between."""
    from vdnnsim.sweep.solve import largest_batch

    share = _share(loss)
    _check(traces)
    answer = largest_batch(
        network,
        gpu=gpu,
        policy=policy,
        loss=share,
        math=math,
        weight_gradients=weight_gradients,
        trace=trace or (),
        traces=traces or (),
        **machine,
    )
    _print(network, policy, share, answer, "batch", "largest batch", str)


@app.command("smallest-capacity")
@partial(on_machine, without=("capacity",))
def smallest_capacity_command(
    network: options.Workload,
    gpu: options.Gpu,
    policy: options.Policy,
    *,
    batch: options.OwnBatch = None,
    loss: _Loss = None,
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFiles = None,
    traces: options.TraceFolders = None,
) -> None:
    """The smallest device memory in which it trains."""
    from vdnnsim.sweep.solve import smallest_capacity

    setting, share = _setting(network, gpu, machine, math, weight_gradients, trace, traces), _share(loss)
    answer = smallest_capacity(setting.study_of(batch), policy, loss=share)
    _print(network, policy, share, answer, "memory", "smallest memory", memory_words)


@app.command("smallest-link")
@partial(on_machine, without=("link_bandwidth", "link_bandwidth_out", "link_bandwidth_in"))
def smallest_link_command(
    network: options.Workload,
    gpu: options.Gpu,
    policy: options.Policy,
    *,
    batch: options.OwnBatch = None,
    loss: _LinkLoss = "5%",
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFiles = None,
    traces: options.TraceFolders = None,
) -> None:
    """The slowest link behind which it loses no more than --loss."""
    from vdnnsim.sweep.solve import smallest_link

    setting, share = _setting(network, gpu, machine, math, weight_gradients, trace, traces), _share(loss)
    answer = smallest_link(setting.study_of(batch), policy, loss=share)
    _print(network, policy, share, answer, "link", "slowest link", lambda rate: f"{rate / 1e9:.1f} GB/s")


def memory_words(size_bytes: int) -> str:
    """A size of memory to the step of the search, for people."""
    from vdnnsim.sweep.solve import ROOMY_BYTES

    if size_bytes == ROOMY_BYTES:
        return "endless"
    return f"{size_bytes / 1e9:.3f} GB" if size_bytes >= 10**9 else f"{size_bytes / 1e6:.0f} MB"


def _setting(
    network: str,
    gpu: str,
    machine: Machine,
    math: str | None,
    weight_gradients: str,
    trace: list[Path] | None,
    traces: list[Path] | None,
) -> Setting:
    from vdnnsim.sweep.solve import Setting

    _check(traces)
    return Setting.of(
        network,
        gpu=gpu,
        math=math,
        weight_gradients=weight_gradients,
        trace=trace or (),
        traces=traces or (),
        **machine,
    )


def _check(traces: list[Path] | None) -> None:
    from vdnnsim.trace import check_folders

    check_folders(traces or (), "--traces")


def _share(loss: str | None) -> float | None:
    from vdnnsim.units import parse_share

    return None if loss is None else parse_share(loss, "--loss")


def _print(
    network: str,
    policy: str,
    loss: float | None,
    answer: Answer,
    column: str,
    what: str,
    words: Callable[[int], str],
) -> None:
    from rich.table import Table

    from vdnnsim.report.terminal import output_console, print_table
    from vdnnsim.units import format_bytes, format_ms

    table = Table(box=None, pad_edge=False)
    for heading in (column, "enough", "performance", "iteration", "memory needed"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("why not", overflow="fold")
    for tried in answer.tried:
        table.add_row(
            words(tried.value),
            "yes" if tried.good else "no",
            f"{tried.performance:.3f}" if tried.trainable else "-",
            format_ms(tried.iteration_time_ns) if tried.trainable else "-",
            format_bytes(tried.memory_bytes),
            tried.why,
        )
    console = output_console()
    console.print("Points tried")
    print_table(console, table, ("memory needed", "iteration"))
    allowed = "" if loss is None else f" with at most {100 * loss:g} % loss"
    found = "none" if answer.value is None else words(answer.value)
    label = answer.provenance if answer.trace_checked else f"{answer.provenance}; trace unchecked"
    line = f"{what} for {policy} on {network}{allowed}: {found} ({answer.note}; {label})"
    console.print(line, soft_wrap=True)
