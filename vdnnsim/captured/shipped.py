"""The captured steps that came along, each by the name of its folder: traces/GPU/captured/NAME."""

from __future__ import annotations

from pathlib import Path

from vdnnsim.captured.files import is_step
from vdnnsim.catalog import data_directory


def shipped_steps() -> dict[str, Path]:
    """The folder of each, by name."""
    found = sorted(data_directory("traces").glob("*/captured/*"))
    return {folder.name: folder for folder in found if is_step(folder)}


def folder_of(named: str | Path) -> Path | None:
    """The folder of a captured step, or of several: one that is there, or one that came along under this name; None
    where there is neither."""
    folder = Path(named)
    return folder if folder.is_dir() else shipped_steps().get(str(named))
