"""Scripts of experiments, benchmarks and examples, as modules that tests may look into."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def load_script(path: str) -> ModuleType:
    """A file of this checkout, run as a module of a name that nothing else has."""
    spec = importlib.util.spec_from_file_location(f"script {path}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module
