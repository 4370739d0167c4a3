"""`vdnnsim page`: one file that answers, to be opened offline in any browser."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vdnnsim.cli import options
from vdnnsim.cli.comparing import Policies, compared
from vdnnsim.cli.outputs import check_pages, tell


def page_command(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK|DIR",
            help="A network by name, the path of its TOML file, or the folder of a captured training step.",
        ),
    ],
    gpu: options.Gpu,
    out: Annotated[Path, typer.Option("--out", help="The page to write: .html.")],
    batch: options.OwnBatch = None,
    policies: Policies = None,
    capacity: options.Capacity = None,
    link_bandwidth: options.LinkBandwidth = None,
    math: options.OwnMath = None,
    pool: options.Pool = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFile = None,
    traces: options.TraceFolders = None,
) -> None:
    """Write a page: the answer in words, tables, and each policy's memory and engines to zoom into.

    One file, for any browser, without a network; with one policy it is the page of its run.
    """
    check_pages({"--out": out})
    from vdnnsim.pages.comparing import comparison_page
    from vdnnsim.report.terminal import output_console

    hardware: dict[str, Any] = {"gpu": gpu, "capacity": capacity, "link_bandwidth": link_bandwidth, "pool": pool}
    comparison = compared(subject, batch, policies, hardware, math, weight_gradients, trace, traces)
    comparison_page(comparison, out, command=shlex.join(["vdnnsim", *sys.argv[1:]]))
    tell(output_console(), "page", out)
