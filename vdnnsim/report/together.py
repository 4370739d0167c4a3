"""Several GPUs of one host at once: as a table, as JSON, as CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vdnnsim.report.terminal import print_table, print_text
from vdnnsim.report.words import subject
from vdnnsim.together import Start, TogetherComparison, TogetherRun

SCHEMA = 1


def together_text(comparison: TogetherComparison) -> str:
    """As text, without colours, as wide as the terminal."""
    text = StringIO()
    print_together(comparison, Console(file=text, force_terminal=False, highlight=False))
    return text.getvalue().rstrip("\n")


def print_together(comparison: TogetherComparison, console: Console) -> None:
    """One row per policy, then the iteration of each GPU under each."""
    count = len(comparison.topology.gpus)
    begins = "started together" if comparison.start is Start.TOGETHER else "every second one half an iteration later"
    print_text(console, f"{subject(comparison.alone)}; {count} GPUs of {comparison.topology.name}, {begins}", "bold")
    print_table(console, _policies(comparison))
    labels = ", ".join(comparison.topology.provenance) or "no limit known"
    reduced = "; step: from the first begin to the last end, with the all-reduce behind it"
    print_text(
        console,
        f"Shared links: {comparison.topology.title} ({labels})\n"
        f"perf.: the oracle's iteration over the slowest GPU's{reduced}",
        "dim",
    )
    print_text(console, "\nEach GPU's iteration, in ms, and the link that it is on", "bold")
    print_table(console, _gpus(comparison))


def together_json(comparison: TogetherComparison) -> str:
    """All rows as JSON text, with the topology's links."""
    document = {
        "schema": SCHEMA,
        "topology": comparison.topology.name,
        "links": {name: _link(link) for name, link in comparison.topology.links.items()},
        "gpus": list(comparison.topology.gpus),
        "results": comparison.rows(),
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _link(link: object) -> dict[str, object]:
    return {name: getattr(link, name) for name in link.__slots__ if getattr(link, name) is not None}  # type: ignore[attr-defined]


def _policies(comparison: TogetherComparison) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("policy", no_wrap=True)
    table.add_column("trains", no_wrap=True)
    headings = (
        "alone\nms",
        "slowest\nms",
        "longer\n%",
        "fastest\nms",
        "perf.\n%",
        "stall\nms",
        "all-red.\nms",
        "step\nms",
    )
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    decimals = _decimals(comparison)
    for run in comparison.runs:
        dim = "" if run.alone.trainable else "dim"
        trains = Text("yes") if run.alone.trainable else Text("NO", "bold red")
        table.add_row(Text(run.policy), trains, *(Text(cell, dim) for cell in _cells(run, decimals)))
    return table


def _cells(run: TogetherRun, decimals: int) -> Sequence[str]:
    slowest = run.slowest.result

    def in_ms(time_ns: int) -> str:
        return f"{time_ns / 1e6:.{decimals}f}"

    return (
        in_ms(run.alone.iteration_time_ns),
        in_ms(slowest.iteration_time_ns),
        f"{100 * run.longer:+.1f}",
        in_ms(run.fastest.result.iteration_time_ns),
        f"{100 * slowest.performance:.1f}",
        in_ms(slowest.stall_ns),
        in_ms(run.all_reduce_ns),
        in_ms(run.step_ns),
    )


def _decimals(comparison: TogetherComparison) -> int:
    """Enough for four digits of the longest step, one to six."""
    longest_ms = max((run.step_ns for run in comparison.runs), default=0) / 1e6
    return max(1, min(6, 3 - math.floor(math.log10(longest_ms)))) if longest_ms else 1


def _gpus(comparison: TogetherComparison) -> Table:
    """A row for each policy, as above: there are often more of them than of GPUs."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("policy", no_wrap=True)
    for one in comparison.runs[0].gpus:
        table.add_column(f"GPU {one.gpu}\n{one.link}", justify="right", no_wrap=True)
    decimals = _decimals(comparison)
    for run in comparison.runs:
        cells = (f"{one.result.iteration_time_ns / 1e6:.{decimals}f}" for one in run.gpus)
        table.add_row(run.policy, *cells)
    return table
