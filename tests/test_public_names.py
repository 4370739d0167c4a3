"""The public surface is a list, and the documentation names each item of it."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import vdnnsim

DOCUMENT = Path(__file__).parent.parent / "docs" / "api.md"


def test_every_public_name_can_be_imported() -> None:
    for name in vdnnsim.__all__:
        assert name.isupper() or getattr(vdnnsim, name).__name__ == name
        assert not name.isupper() or isinstance(getattr(vdnnsim, name), str)


def test_the_documentation_lists_exactly_the_public_names() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(documented) == sorted(vdnnsim.__all__)


def test_public_names_have_docstrings() -> None:
    assert [name for name in vdnnsim.__all__ if not getattr(vdnnsim, name).__doc__] == []


def test_importing_the_package_imports_no_heavy_library() -> None:
    heavy = "{'simpy', 'numpy', 'pandas', 'matplotlib', 'pydantic', 'torch', 'pyarrow'}"
    code = f"import sys, vdnnsim, vdnnsim.cli.app; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize(
    ("library", "places"),
    [
        ("simpy", ("machines/simulated.py", "machines/simulated_engines.py", "machines/simulated_host.py")),
        ("torch", ("machines/real/", "calibration/", "pytorch/")),
        ("pynvml", ("machines/real/nvml.py",)),
        ("distributed", ("sweep/cluster.py",)),
        ("typer", ("cli/",)),
        ("matplotlib", ("figures/",)),
        ("jinja2", ("pages/writing.py",)),
        ("multiprocessing", ("processes.py", "crew.py")),
    ],
)
def test_libraries_are_imported_in_their_rooms_alone(library: str, places: tuple[str, ...]) -> None:
    found = [path for path, libraries in imported().items() if library in libraries]
    assert found
    assert [path for path in sorted(found) if not path.startswith(places)] == []


@cache
def imported() -> dict[str, set[str]]:
    """What each module of the package imports, also inside functions, and for types alone."""
    package = Path(vdnnsim.__file__).parent
    found: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        own = found.setdefault(path.relative_to(package).as_posix(), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            own |= {name.split(".")[0] for name in names}
    return found
