"""`vdnnsim reproduce`: the paper's figures with our numbers, and the table of its claims."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def reproduce_command(
    figures: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIGURE]...", help="1, 4, 5, 6, 9, 11 to 15, power; all by default. Or alone: rules."),
    ] = None,
    gpu: Annotated[str, typer.Option("--gpu", help="titan-x-maxwell (the paper's) or h200.")] = "titan-x-maxwell",
    out: Annotated[
        Path, typer.Option("--out", help="Folder for a page of all, PNG, PDF and CSV of each figure, and the claims.")
    ] = ...,  # type: ignore[assignment]
    bands: Annotated[
        bool, typer.Option("--bands/--no-bands", help="How far the uncertainty of the trace reaches, on every bar.")
    ] = True,
) -> None:
    """Reproduce figures of the paper, and set its stated numbers beside ours."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from vdnnsim.report.terminal import output_console
    from vdnnsim_paper import reproduce
    from vdnnsim_paper.printing import print_claims

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("start")

        def progress(title: str, done: int, total: int) -> None:
            shown.update(task, description=title, completed=done, total=total)

        command = shlex.join(["vdnnsim", *sys.argv[1:]])
        found = reproduce(figures or (), gpu=gpu, out=out, bands=bands, progress=progress, command=command)
    output = output_console()
    print_claims(found.claims, output)
    if found.left_out:
        output.print(f"left out, no trace on {gpu}: {', '.join(found.left_out)}", soft_wrap=True)
    output.print(f"{len(found.files)} files in {out.resolve()}", soft_wrap=True)
