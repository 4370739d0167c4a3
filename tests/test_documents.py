"""Documentation that runs: every command in the README and the documents is run, and its output compared."""

from pathlib import Path

import pytest

from support.documents import DOCUMENTS, agrees, commands, run_all


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_print_what_the_document_shows(document: Path, tmp_path: Path) -> None:
    shown = commands(document)
    for (command, output), done in zip(shown, run_all(shown, tmp_path), strict=True):
        if output.strip():
            assert agrees(output.rstrip() + "\n", done.output.rstrip() + "\n"), f"$ {command}\n{done.output}"
        else:
            assert done.code == 0, f"$ {command}\n{done.output}"
