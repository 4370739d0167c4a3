"""Documentation that runs: every command in the README and the documents is run, and its output compared."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.documents import DOCUMENTS, ROOT, agrees, commands, run_all


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_print_what_the_document_shows(document: Path, tmp_path: Path) -> None:
    shown = commands(document)
    for (command, output), done in zip(shown, run_all(shown, tmp_path), strict=True):
        if output.strip():
            assert agrees(output.rstrip() + "\n", done.output.rstrip() + "\n"), f"$ {command}\n{done.output}"
        else:
            assert done.code == 0, f"$ {command}\n{done.output}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_in_documents_runs(document: Path, tmp_path: Path) -> None:
    """The blocks of a document one after the other, as in one session."""
    blocks = re.findall(r"^```python\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if blocks:
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(blocks)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_what_is_to_be_installed_can_be_installed_from_a_clone() -> None:
    """The package is on no index: documents name extras of the clone, messages the libraries themselves."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    texts = {path: path.read_text(encoding="utf-8") for path in (*DOCUMENTS, *ROOT.glob("vdnnsim/**/*.py"))}
    assert [path for path, text in texts.items() if "vdnnsim[" in text] == []
    named = [extra for text in texts.values() for extra in re.findall(r"'\.\[(\w+)\]'", text)]
    assert {"sweep", "cluster", "gpu", "notebooks"} <= set(named) <= set(extras)
