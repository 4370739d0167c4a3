"""Documentation that runs: every `$ ...` command in the README and docs is run, and its output compared.

A block that begins with ```console holds commands and their output. A line `...` in the output stands for any number of
lines; a command without output below it only has to succeed. Commands run one after the other in one empty folder for
each document, with files of the checkout at hand under `examples`, and 100 columns.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), ROOT / "CONTRIBUTING.md"])
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for block in BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif found:
                command, output = found.pop()
                found.append((command, output + line + "\n"))
    return [(command, output) for command, output in found if not command.startswith(("make ", "git ", "cd "))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_print_what_the_document_shows(document: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    for command, expected in commands(document.read_text(encoding="utf-8")):
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        found = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines()) + "\n"
        if expected:
            lines = (r"(?:.*\n)*" if line == "..." else re.escape(line + "\n") for line in expected.splitlines())
            pattern = "".join(lines)
            assert re.fullmatch(pattern, found.replace(str(tmp_path), ".")), f"$ {command}\n{found}"
        else:
            assert done.returncode == 0, f"$ {command}\n{found}"
