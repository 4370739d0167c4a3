"""Help: three commands to begin with, examples that can be given as they stand, completion, a word while at work."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import pytest
import typer

from support.commands import in_process
from vdnnsim.cli import completing, waiting
from vdnnsim.cli.added import ENTRY_POINT_GROUP
from vdnnsim.cli.app import app
from vdnnsim.cli.examples import BEGIN, EXAMPLES

ALL: Any = typer.main.get_command(app)


def leaves(command: Any, path: str = "") -> Iterator[str]:
    """The commands that are no groups; not those of other packages."""
    added = {
        entry.name for entry in entry_points(group=ENTRY_POINT_GROUP) if entry.dist and entry.dist.name != "vdnnsim"
    }
    for name, inner in command.commands.items():
        if name in added:
            continue
        own = f"{path} {name}".strip()
        if hasattr(inner, "commands"):
            yield from leaves(inner, own)
        else:
            yield own


def check_words(words: list[str]) -> None:
    """Raise where these are no words of a command line, and run nothing."""
    command, context = ALL, None
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    with command.make_context("vdnnsim", words, parent=context):
        pass


def test_alone_it_shows_three_commands_to_begin_with() -> None:
    code, out, err = in_process([])
    assert (code, err) == (0, "")
    assert [line.strip() for line in out.splitlines() if line.startswith("  vdnnsim ")] == list(BEGIN)
    assert len(BEGIN) == 3


def test_every_command_has_examples() -> None:
    assert set(leaves(ALL)) == set(EXAMPLES)


@pytest.mark.parametrize(
    "line", [*BEGIN, *(f"vdnnsim {name} {one}" for name, all_ in EXAMPLES.items() for one in all_)]
)
def test_examples_can_be_given_as_they_stand(line: str) -> None:
    check_words(shlex.split(line)[1:])


def test_a_wrong_example_would_be_seen() -> None:
    with pytest.raises(Exception, match="batsh"):
        check_words(shlex.split("compare vgg16 --batsh 256 --gpu h200"))


def test_help_ends_in_the_examples() -> None:
    code, out, _ = in_process(["solve", "smallest-link", "--help"])
    assert code == 0
    assert out.rstrip().endswith(f"vdnnsim solve smallest-link {EXAMPLES['solve smallest-link'][0]}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "compare vgg16 --batch 64",
            "--gpu: found none, expected a GPU by name (see 'vdnnsim list gpus'), or the ",
        ),
        ("capture --out x", "SCRIPT: found none, expected FILE.py:FUNCTION; the function returns step, model"),
        ("compare vgg16 --gpu h100 --batch x", "--batch: "),
        ("compare vgg16 --gpu h100 --bacth 64", "no such option: --bacth"),
        ("sweep run", "SPEC: found none, expected "),
        ("--gpu h100", "no such option: --gpu"),
        ("comprae", "no such command 'comprae'"),
    ],
)
def test_wrong_words_are_told_in_one_line_as_all_errors(line: str, said: str) -> None:
    code, out, err = in_process(shlex.split(line))
    command = "" if line.split()[0] in ("--gpu", "comprae") else f" {line.split(' --')[0]}".replace(" vgg16", "")
    assert (code, out) == (2, "")
    assert err.startswith(f"vdnnsim: {said}")
    assert err.endswith(f"; 'vdnnsim{command} --help' says more\n")
    assert err.count("\n") == 1


def test_names_are_completed() -> None:
    assert completing.networks("vgg16") == ["vgg16"]
    assert "h200" in completing.gpus("h")
    assert completing.policies("oracle,vdnn-d") == ["oracle,vdnn-dyn"]
    assert "--install-completion" in in_process(["--help"]).out


def test_what_is_piped_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for words in (["list", "gpus"], ["compare", "alexnet", "--batch", "128", "--gpu", "h200"], ["compare"]):
        done = in_process(words)
        assert "\x1b" not in done.out + done.err


def test_a_word_is_said_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(waiting.QUIET, raising=False)
    monkeypatch.setattr(waiting, "EVERY_S", 0.02)
    with waiting.waiting("compare"):
        while "for" not in (said := capsys.readouterr().err):
            pass
    assert said.splitlines()[0] == "vdnnsim compare: at work for 0 s"
    monkeypatch.setenv(waiting.QUIET, "1")
    with waiting.waiting("compare"):
        assert capsys.readouterr().err == ""


def test_how_far_it_is_is_said_at_most_so_often(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(waiting.QUIET, raising=False)
    clock = iter([0.0, 1.0, 10.0, 15.0, 21.0])
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(clock))
    tell = waiting.now_and_then("vdnnsim sweep")
    for done in range(4):
        tell(f"{done} of 4")
    assert capsys.readouterr().err.splitlines() == ["vdnnsim sweep: 10 s, 1 of 4", "vdnnsim sweep: 21 s, 3 of 4"]
