"""Commands that other packages add, by entry points in the group `vdnnsim.commands`: a function that typer makes a
command of, or a `typer.Typer` with commands of its own. The module it is in is imported for every command line, so that
it should import what is heavy inside of the function."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

import typer

from vdnnsim.errors import InvalidInput

ENTRY_POINT_GROUP = "vdnnsim.commands"


def add_commands(app: typer.Typer) -> None:
    """Add every installed command; one that cannot be loaded says so when it is called, and harms no other."""
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        try:
            command = entry.load()
        except Exception as error:  # whatever another package's module may do
            _add_broken(app, entry, f"{type(error).__name__}: {error}")
            continue
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)


def _add_broken(app: typer.Typer, entry: EntryPoint, why: str) -> None:
    package = entry.dist.name if entry.dist else "some package"

    def command() -> None:
        raise InvalidInput(f"{entry.name}: the command of {package} ({entry.value}) cannot be loaded: {why}")

    anything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    app.command(entry.name, help=f"Cannot be loaded: {why}", context_settings=anything)(command)
