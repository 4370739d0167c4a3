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
from vdnnsim.cli.examples import beginning, with_examples
from vdnnsim.cli.usage import in_our_words
from vdnnsim.cli.waiting import waiting
from vdnnsim.errors import VdnnsimError


class Interrupted(VdnnsimError):  # noqa: N818 - reads as what it is
    """The user pressed Ctrl-C."""

    exit_code = 130

    def __str__(self) -> str:
        return "interrupted"


class AllCommands(TyperGroup):
    """Typer ends a process that Ctrl-C reaches itself, without a word or with "Aborted!" by its version, and one with
    wrong words in three lines; here both become errors like others before Typer sees them. Help ends in examples."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        with in_our_words():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        try:
            with in_our_words():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        return command and with_examples(command, cmd_name)


app = typer.Typer(
    name="vdnnsim",
    cls=AllCommands,
    help="Simulate GPU memory virtualisation (vDNN) for training: what fits, what it needs, what it costs.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vdnnsim {version('vdnnsim')}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command."""
    if context.invoked_subcommand is None:
        typer.echo(beginning())
    else:
        context.with_resource(waiting(context.invoked_subcommand))


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
