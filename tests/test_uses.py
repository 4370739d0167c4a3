"""What is a use of the library knows no more of it than any other user: public names, and modules that are public."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import vdnnsim
import vdnnsim_builder

ROOT = Path(__file__).parent.parent
PUBLIC_MODULES = (
    "vdnnsim",
    "vdnnsim.cli.ends",
    "vdnnsim.figures",
    "vdnnsim.pages",
    "vdnnsim.pytorch",
    "vdnnsim.pytorch.reporting",
    "vdnnsim.replay",
    "vdnnsim.report.terminal",
)
"""Those that docs/api.md tells of; what is public in them stands in their `__all__`."""
USES = {
    "the paper's reproduction": (ROOT / "experiments", (*PUBLIC_MODULES, "vdnnsim_builder")),
    "the building of modelled traces": (ROOT / "traces", PUBLIC_MODULES),
    "the notebooks": (ROOT / "notebooks", (*PUBLIC_MODULES, "vdnnsim_builder", "vdnnsim_paper")),
    "the examples": (ROOT / "examples", PUBLIC_MODULES),
}


def sources(folder: Path) -> Iterator[tuple[str, str]]:
    """The names of programs and notebooks in a folder, and their text."""
    import json

    for path in sorted(folder.rglob("*.py")):
        yield path.name, path.read_text(encoding="utf-8")
    for path in sorted(folder.glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield path.name, "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def imports(text: str) -> Iterator[tuple[str, str]]:
    """Every module that is imported, each with each name that is taken from it, or with none."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("use", USES)
def test_a_use_imports_public_names_alone(use: str) -> None:
    folder, modules = USES[use]
    own = {path.name for path in folder.iterdir() if path.is_dir()}
    found = [
        (file, module, name)
        for file, text in sources(folder)
        for module, name in imports(text)
        if module.split(".")[0].startswith("vdnnsim") and module.split(".")[0] not in own
    ]
    assert found
    assert [
        one for one in found if one[1] not in modules or one[2] not in importlib.import_module(one[1]).__all__
    ] == []


def test_the_library_knows_no_use_of_it() -> None:
    """But for the older spelling of a command, which runs the module of that name."""
    for path in Path(vdnnsim.__file__).parent.rglob("*.py"):
        names = {module.split(".")[0] for module, _ in imports(path.read_text(encoding="utf-8"))}
        assert not names & {"vdnnsim_paper", vdnnsim_builder.__name__}, path


def test_figures_come_last() -> None:
    """Commands and pages draw, and reports of calibrations, anew with each case; no other room knows of figures."""
    package = Path(vdnnsim.__file__).parent
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for module, _ in imports(path.read_text(encoding="utf-8"))
        if module.startswith("vdnnsim.figures") and not {"figures", "pages"} & set(path.relative_to(package).parts)
    }
    assert found == {
        "__init__.py",
        "calibration/report.py",
        "calibration/several/report.py",
        "cli/advising.py",
        "cli/comparing.py",
        "cli/differing.py",
        "cli/sweep.py",
        "pytorch/reporting.py",
    }


@pytest.mark.parametrize("module", PUBLIC_MODULES[1:])
def test_public_modules_are_told_of_with_their_names(module: str) -> None:
    document = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    [row] = [line for line in document.splitlines() if line.startswith(f"| `{module}` |")]
    missing = [name for name in importlib.import_module(module).__all__ if f"`{name}`" not in row]
    assert missing == []
