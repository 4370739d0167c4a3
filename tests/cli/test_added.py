"""Commands that other packages add: functions, groups, and what cannot be loaded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vdnnsim.cli.added import ENTRY_POINT_GROUP, add_commands
from vdnnsim.errors import InvalidInput

MODULE = """
import typer

def halve(number: int) -> None:
    "Half of a number."
    typer.echo(number / 2)

group = typer.Typer()

@group.command("twice")
def twice(number: int) -> None:
    typer.echo(2 * number)

@group.command("thrice")
def thrice(number: int) -> None:
    typer.echo(3 * number)
"""
ENTRIES = {"halve": "their_commands:halve", "times": "their_commands:group", "gone": "their_commands:nothing"}


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[typer.Typer]:
    (tmp_path / "their_commands.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    entries = [EntryPoint(name, value, ENTRY_POINT_GROUP) for name, value in ENTRIES.items()]
    monkeypatch.setattr("vdnnsim.cli.added.entry_points", lambda group: entries if group == ENTRY_POINT_GROUP else [])
    app = typer.Typer()
    add_commands(app)
    yield app
    sys.modules.pop("their_commands", None)


def test_functions_and_groups_become_commands(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["halve", "3"]).output == "1.5\n"
    assert CliRunner().invoke(app, ["times", "thrice", "3"]).output == "9\n"
    listed = CliRunner().invoke(app, ["--help"]).output
    assert "Half of a number." in listed


def test_what_cannot_be_loaded_says_so_when_it_is_called(app: typer.Typer) -> None:
    assert CliRunner().invoke(app, ["--help"]).exit_code == 0
    for arguments in (["gone"], ["gone", "vgg16", "--batch", "3", "--help"]):
        error = CliRunner().invoke(app, arguments).exception
        assert isinstance(error, InvalidInput)
        assert str(error).startswith(
            "gone: the command of some package (their_commands:nothing) cannot be loaded: AttributeError: "
        )
