"""Where cuDNN lies: what torch has loaded already, the `nvidia-cudnn` package, or the system's library."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import importlib.util
from pathlib import Path

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.cudnn_library import Library


def load_library() -> Library:
    """cuDNN as this process has it loaded through torch, or from the `nvidia-cudnn` package, or from the system.

    Raises `InvalidInput` where there is no GPU or no cuDNN 9.
    """
    _require_gpu()
    path = _loaded_path() or _packaged_path() or ctypes.util.find_library("cudnn")
    if path is None:
        raise InvalidInput(
            "cuDNN: found no libcudnn; install PyTorch for CUDA, or the package nvidia-cudnn-cu13 or -cu12"
        )
    try:
        return Library(ctypes.CDLL(path), path)
    except OSError as error:
        raise InvalidInput(f"cuDNN: {path} cannot be loaded: {error}") from error


def _require_gpu() -> None:
    """Importing torch also loads the CUDA libraries that cuDNN needs; without torch, `cudnnCreate` finds out."""
    if importlib.util.find_spec("torch") is None:
        return
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        raise InvalidInput(f"cuDNN: torch {torch.__version__} finds no NVIDIA GPU here (does nvidia-smi list one?)")
    torch.cuda.init()  # the primary context, which the handle binds to


def _loaded_path() -> str | None:
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    for line in maps.splitlines():
        path = line.split(maxsplit=5)[-1]
        if Path(path).name.startswith("libcudnn.so"):
            return path
    return None


def _packaged_path() -> str | None:
    if importlib.util.find_spec("nvidia") is None:
        return None
    package = importlib.util.find_spec("nvidia.cudnn")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for path in sorted(Path(folder, "lib").glob("libcudnn.so.*")):
            return str(path)
    return None
