"""Commands in documents and what they print. `python tests/support/documents.py` writes today's output into them.

A block that begins with ```console holds commands, each after "$ ", and their output. A line "..." stands for any
number of lines; a command without output below it only has to succeed. After ```console measured, for what is timed on
whatever machine runs it, each line has to begin with the word that it begins with. Commands run one after the other in
an empty folder for each document, with the checkout's `examples` in it, at 100 columns and with one thread.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path[:0] = [str(Path(__file__).parents[1])]  # for when it is run by itself

from support.commands import in_process  # noqa: E402

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])
ANYTHING = "..."
_BLOCK = re.compile(r"^```console( measured)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_NOT_RUN = ("make ", "git ", "cd ", "pip ", "python -m torch.cuda._memory_viz ")  # the last has a test of its own
_OURS = re.compile(r"vdnnsim( [\w./,%:=-]+| '[^']*'| \"[^\"$`]*\")*")
"""`vdnnsim` and words that are the same in any shell."""


class Shown(NamedTuple):
    """One command of a document, with the output that the document shows, and whether that was measured."""

    command: str
    output: str
    measured: bool


class Printed(NamedTuple):
    """What a command did."""

    code: int
    output: str


def commands(document: Path) -> list[Shown]:
    """The commands of a document that are to be run."""
    blocks = _BLOCK.findall(document.read_text(encoding="utf-8"))
    found = [
        Shown(command, output, bool(measured))
        for measured, block in blocks
        for command, output in _COMMAND.findall(block)
    ]
    return [shown for shown in found if not shown.command.startswith(_NOT_RUN)]


def run_all(shown: list[Shown], folder: Path) -> Iterator[Printed]:
    """Run commands one after the other in a folder: `vdnnsim` alone in this process, all else in a shell."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    settings = {
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # as the variable does where it is not imported yet
    for command, *_ in shown:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr("vdnnsim.sweep.run.usable_cores", lambda: 1)  # the other core runs other tests
            for name, value in settings.items():
                patch.setenv(name, value)
            code, text = _run_here(command) if _OURS.fullmatch(command) else _run_in_shell(command)
        lines = "".join(line.rstrip() + "\n" for line in text.splitlines())
        yield Printed(code, lines.replace(str(folder), "."))


def _run_here(command: str) -> tuple[int, str]:
    done = in_process(shlex.split(command)[1:])
    return done.code, done.out + done.err


def _run_in_shell(command: str) -> tuple[int, str]:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def agrees(shown: str, found: str, measured: bool = False) -> bool:
    """Whether the output of a command is what the document shows."""
    if measured:
        shown, found = ("".join(f"{line.split(' ')[0]}\n" for line in text.splitlines()) for text in (shown, found))
    lines = (r"(?:.*\n)*" if line == ANYTHING else re.escape(line + "\n") for line in shown.splitlines())
    return re.fullmatch("".join(lines), found) is not None


def update(document: Path) -> None:
    """Write what commands print today into a document, where it shows whole outputs."""
    shown = commands(document)
    text = document.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for (command, output, _), done in zip(shown, run_all(shown, Path(folder)), strict=True):
            if output.strip() and ANYTHING not in output.splitlines():
                gap = output[len(output.rstrip()) :]
                text = text.replace(f"$ {command}\n{output}", f"$ {command}\n{done.output.rstrip()}{gap}", 1)
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for each in DOCUMENTS:
        update(each)
