"""Documentation that runs: every command in the README and the documents is run, and its output compared."""

import re
import tomllib
from pathlib import Path

import pytest

from support.documents import DOCUMENTS, ROOT, agrees, commands, run_all
from support.session import run_session


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_print_what_the_document_shows(document: Path, tmp_path: Path) -> None:
    """Then its blocks of Python run in the same folder, one after the other, as in one session."""
    text = document.read_text(encoding="utf-8")
    shown = commands(document)
    for (command, output, measured), done in zip(shown, run_all(shown, tmp_path), strict=True):
        if output.strip():
            assert agrees(output.rstrip() + "\n", done.output.rstrip() + "\n", measured), f"$ {command}\n{done.output}"
        else:
            assert done.code == 0, f"$ {command}\n{done.output}"
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    run_session(["\n".join(blocks)], tmp_path)


def test_what_is_to_be_installed_can_be_installed_from_a_clone() -> None:
    """The package is on no index: documents name extras of the clone, messages the libraries themselves."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    texts = {path: path.read_text(encoding="utf-8") for path in (*DOCUMENTS, *ROOT.glob("vdnnsim/**/*.py"))}
    assert [path for path, text in texts.items() if "vdnnsim[" in text] == []
    named = [extra for text in texts.values() for extra in re.findall(r"'\.\[(\w+)\]'", text)]
    assert {"sweep", "cluster", "gpu", "notebooks"} <= set(named) <= set(extras)
