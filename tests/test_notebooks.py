"""Notebooks run from top to bottom, and are stored without outputs."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.examples import thorough
from support.session import run_session

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_SLOW = ("3_how_fast_a_link", "5_your_own_model")
"""What they do docs/sweeps.md and docs/pytorch.md do as well, which `make test` runs."""
RUN = [pytest.param(path, marks=thorough) if path.stem in _SLOW else path for path in NOTEBOOKS]
CODE_KEYS = {"cell_type", "id", "metadata", "source", "execution_count", "outputs"}


def load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def code_cells(document: dict[str, Any]) -> list[str]:
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == "code"]


def test_all_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "1_quick_start",
        "2_paper_figures",
        "3_how_fast_a_link",
        "4_bring_your_own_network",
        "5_your_own_model",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_format_without_outputs(path: Path) -> None:
    """Version 4.5 of the notebook format: every cell has an id of its own, code cells outputs, here none."""
    document = load(path)
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert document["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in document["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in document["cells"]:
        assert set(cell) == (CODE_KEYS if cell["cell_type"] == "code" else CODE_KEYS - {"execution_count", "outputs"})
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert document["cells"][0]["source"][0].startswith("# ")


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_runs(path: Path, tmp_path: Path) -> None:
    cells = code_cells(load(path))
    assert cells
    run_session(cells, tmp_path)
    assert not list(tmp_path.iterdir())
