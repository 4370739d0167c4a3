"""Where the traces, GPU profiles and topologies lie that came along: inside a wheel, or at the top of a checkout."""

from __future__ import annotations

from pathlib import Path


def data_directory(name: str) -> Path:
    """The folder "traces", "gpu_profiles" or "topologies" that came with the package."""
    package = Path(__file__).resolve().parent
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent / name
