"""Python as a notebook or a document has it, run from top to bottom in this process as `__main__`: without another
import of PyTorch, pandas and matplotlib, which takes seconds."""

from __future__ import annotations

import ast
import io
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import pytest


def run_session(sources: Sequence[str], folder: Path) -> str:
    """What cells print, run one after the other in a folder with names of their own. As in a kernel, the last
    expression of a cell is shown, and what cells define is found in `__main__`."""
    module = ModuleType("__main__")
    out = io.StringIO()
    there = set(sys.modules)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)  # as the variable does where it is not imported yet
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), mpl.rc_context(), redirect_stdout(out):
        # With the Agg backend, show() says that it cannot; that one is no news.
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive", UserWarning)
        patch.setattr(sys, "path", ["", *sys.path])
        patch.setitem(sys.modules, "__main__", module)
        patch.setenv("MPLBACKEND", "Agg")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(folder)
        try:
            for number, source in enumerate(sources):
                _run_cell(source, f"cell {number}", module)
        finally:
            _leave(there, folder)
    return out.getvalue()


def _run_cell(source: str, name: str, module: ModuleType) -> None:
    body = ast.parse(source, name).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), name, "exec", dont_inherit=True), module.__dict__)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), module.__dict__)
        if value is not None:
            print(value)


def _leave(there: set[str], folder: Path) -> None:
    """Close its figures, and forget modules that were found in its folder, which another session may have too."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    for name in set(sys.modules) - there:
        spec = getattr(sys.modules[name], "__spec__", None)
        places = [spec.origin, *(spec.submodule_search_locations or ())] if isinstance(spec, ModuleSpec) else []
        if any(Path(place).resolve().is_relative_to(folder.resolve()) for place in places if place):
            del sys.modules[name]
