"""Commands in documents and what they print. `python tests/support/documents.py` writes today's output into them.

A block that begins with ```console holds commands, each after "$ ", and their output. A line "..." stands for any
number of lines; a command without output below it only has to succeed. Commands run one after the other in an empty
folder for each document, with the checkout's `examples` in it, at 100 columns.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])
ANYTHING = "..."
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_NOT_RUN = ("make ", "git ", "cd ", "pip ")


class Shown(NamedTuple):
    """One command of a document, with the output that the document shows."""

    command: str
    output: str


class Done(NamedTuple):
    """What a command did."""

    code: int
    output: str


def commands(document: Path) -> list[Shown]:
    """The commands of a document that are to be run."""
    blocks = _BLOCK.findall(document.read_text(encoding="utf-8"))
    found = [Shown(command, output) for block in blocks for command, output in _COMMAND.findall(block)]
    return [shown for shown in found if not shown.command.startswith(_NOT_RUN)]


def run_all(shown: list[Shown], folder: Path) -> Iterator[Done]:
    """Run commands one after the other in a folder."""
    shutil.copytree(ROOT / "examples", folder / "examples")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PATH": path}
    for command, _ in shown:
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        lines = (line.rstrip() for line in (done.stdout + done.stderr).splitlines())
        yield Done(done.returncode, "".join(line + "\n" for line in lines).replace(str(folder), "."))


def agrees(shown: str, found: str) -> bool:
    """Whether the output of a command is what the document shows."""
    lines = (r"(?:.*\n)*" if line == ANYTHING else re.escape(line + "\n") for line in shown.splitlines())
    return re.fullmatch("".join(lines), found) is not None


def update(document: Path) -> None:
    """Write what commands print today into a document, where it shows whole outputs."""
    shown = commands(document)
    text = document.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for (command, output), done in zip(shown, run_all(shown, Path(folder)), strict=True):
            if output.strip() and ANYTHING not in output.splitlines():
                gap = output[len(output.rstrip()) :]
                text = text.replace(f"$ {command}\n{output}", f"$ {command}\n{done.output.rstrip()}{gap}", 1)
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for each in DOCUMENTS:
        update(each)
