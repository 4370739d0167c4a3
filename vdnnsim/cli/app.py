"""The commands of `vdnnsim`, gathered. Each imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from vdnnsim.cli import calibrate, check, comparing, listing, solve, sweep
from vdnnsim.cli.added import add_commands
from vdnnsim.cli.interrupts import InterruptibleGroup

app = typer.Typer(
    name="vdnnsim",
    cls=InterruptibleGroup,
    help="Simulate GPU memory virtualisation (vDNN) for training: what fits, what it needs, what it costs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vdnnsim {version('vdnnsim')}")
        raise typer.Exit


@app.callback()
def _global_options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command."""


app.command("compare")(comparing.compare_command)
app.command("run")(comparing.run_command)
app.command("list")(listing.list_command)
app.command("check")(check.check_command)
add_commands(app)
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(sweep.app, name="sweep")
app.add_typer(solve.app, name="solve")
