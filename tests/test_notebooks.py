"""Notebooks run from top to bottom, each in a process of its own, and are stored without outputs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CODE_KEYS = {"cell_type", "id", "metadata", "source", "execution_count", "outputs"}
RUNNER = """
import ast, json, sys, types

module = types.ModuleType("__main__")
sys.modules["__main__"] = module  # as in a kernel: what cells define is found there
for number, source in enumerate(json.load(sys.stdin)):
    body = ast.parse(source, f"cell {number}").body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), f"cell {number}", "exec"), module.__dict__)
    if last is not None:  # as in a kernel: the last expression is shown
        value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), module.__dict__)
        if value is not None:
            print(value)
    print(f"--- end of cell {number}")
"""


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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path, tmp_path: Path) -> None:
    cells = code_cells(load(path))
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    # With the Agg backend, show() says that it cannot; that one is no news.
    environment["PYTHONWARNINGS"] += ",ignore:FigureCanvasAgg is non-interactive:UserWarning"
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps(cells),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("--- end of cell") == len(cells)
    assert not list(tmp_path.iterdir())
