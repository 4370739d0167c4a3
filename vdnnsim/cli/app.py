"""The commands of `vdnnsim`, gathered. Each imports what it needs when it is called, so that help comes at once."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vdnnsim.cli import (
    advising,
    calibrate,
    capture,
    carrying,
    check,
    comparing,
    differing,
    importing,
    listing,
    paging,
    planning,
    solve,
    sweep,
)
from vdnnsim.cli.added import add_commands
from vdnnsim.errors import VdnnsimError


class Interrupted(VdnnsimError):  # noqa: N818 - reads as what it is
    """The user pressed Ctrl-C."""

    exit_code = 130

    def __str__(self) -> str:
        return "interrupted"


class InterruptibleGroup(TyperGroup):
    """All commands. Typer ends a process that Ctrl-C reaches itself, without a word or with "Aborted!" by its version;
    here it becomes an error like others before Typer sees it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


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


app.command("advise")(advising.advise_command)
app.command("compare")(comparing.compare_command)
app.command("run")(comparing.run_command)
app.command("page")(paging.page_command)
app.command("memory-map")(comparing.memory_map_command)
app.command("diff")(differing.diff_command)
app.command("capture")(capture.capture_command)
app.command("plan")(planning.plan_command)
app.command("import")(importing.import_command)
app.command("replay")(importing.replay_command)
app.command("model-trace")(carrying.model_trace_command)
app.command("list")(listing.list_command)
app.command("check")(check.check_command)
add_commands(app)
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(sweep.app, name="sweep")
app.add_typer(solve.app, name="solve")
