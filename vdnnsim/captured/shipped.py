"""The captured steps that came along, each by the name of its folder: traces/GPU/captured/NAME."""

from __future__ import annotations

from pathlib import Path

from vdnnsim.captured.files import is_step
from vdnnsim.catalog import data_directory


def shipped_steps() -> dict[str, Path]:
    """The folder of each, by name: its own, or GPU/NAME where another GPU's goes by that one already."""
    found: dict[str, Path] = {}
    for folder in filter(is_step, sorted(data_directory("traces").glob("*/captured/*"))):
        found[f"{_gpu_of(folder)}/{folder.name}" if folder.name in found else folder.name] = folder
    return found


def shipped_as(gpu: str, name: str) -> str | None:
    """What this GPU's step of a name goes by; None where none came along."""
    steps = shipped_steps().items()
    return next((named for named, folder in steps if (_gpu_of(folder), folder.name) == (gpu, name)), None)


def _gpu_of(folder: Path) -> str:
    return folder.parents[1].name


def folder_of(named: str | Path) -> Path | None:
    """The folder of a captured step, or of several: one that is there, or one that came along under this name; None
    where there is neither."""
    folder = Path(named)
    return folder if folder.is_dir() else shipped_steps().get(str(named))
