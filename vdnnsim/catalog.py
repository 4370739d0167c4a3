"""Where the built-in traces and GPU profiles lie: inside an installed wheel, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path


def data_directory(name: str) -> Path:
    """The folder "traces" or "gpu_profiles" that came with the package."""
    package = Path(__file__).resolve().parent
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name
