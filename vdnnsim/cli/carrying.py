"""`vdnnsim model-trace`: a trace on a GPU that nobody timed, from one of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vdnnsim.cli import options
from vdnnsim.cli.outputs import check_targets
from vdnnsim.errors import InvalidValue


def model_trace_command(
    network: options.Network,
    batch: options.Batch,
    source: Annotated[str, typer.Option("--from", help="The GPU that was timed, by name or profile.")],
    target: Annotated[str, typer.Option("--to", help="The GPU that the trace is to be of, by name or profile.")],
    out: Annotated[Path, typer.Option("--out", help="The table to write (.csv); its header goes beside it.")],
    math: options.Math = "fp32",
    traces: options.TraceFolders = None,
) -> None:
    """Carry a trace over to another GPU by a roofline: arithmetic, memory bandwidth, launch. Labelled modelled."""
    from vdnnsim.carrying import model_trace
    from vdnnsim.report.terminal import output_console, print_text
    from vdnnsim.trace import CARRIED, check_header_writable, write_trace

    if out.suffix != ".csv":
        raise InvalidValue("--out", f"'{out}'", "a name that ends in .csv")
    check_targets({"--out": str(out), "its header": str(out.with_suffix(".toml"))})
    check_header_writable(out)
    found = model_trace(network, source=source, target=target, batch=batch, math=math, traces=traces or ())
    write_trace(found.trace, out)
    console = output_console()
    print_text(console, f"{out}: {len(found.trace.rows)} rows, {found.trace.header.title}")
    print_text(console, found.trace.header.sources[CARRIED])
