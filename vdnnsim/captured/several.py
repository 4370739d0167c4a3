"""Captures of one model with one thing varied, on disk: a folder for each setting, and `index.toml` that names them.

```toml
schema = 1
varied = "batch"

[[captures]]
folder = "batch_8"
value = 8
```
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vdnnsim.captured.files import is_step, read_header, read_step, write_step
from vdnnsim.captured.step import CapturedStep
from vdnnsim.errors import InvalidInput
from vdnnsim.files import check_folder_writable, read_toml, whole_folder, write_text

if TYPE_CHECKING:
    from vdnnsim.captured.index import IndexFile

INDEX = "index.toml"
Value = int | float | str


def is_steps(folder: Path) -> bool:
    """Whether there are captures of several settings in this folder, right or wrong."""
    return (folder / INDEX).is_file() and not is_step(folder)


def read_steps(folder: str | Path) -> tuple[str, dict[Value, CapturedStep]]:
    """What is varied, and the captured steps by its values, in their order. Raises `InvalidFile` with every fault of
    the index, or of the first step that has one."""
    folder = Path(folder)
    index = _read_index(folder)
    return index.varied, {one.value: read_step(folder / one.folder) for one in index.captures}


def folder_of(folder: str | Path, value: Value | None) -> Path | None:
    """Where the step of this value lies, of captures of several settings or of one; None where it was not captured.
    Raises as `read_steps`."""
    folder = Path(folder)
    if not is_steps(folder):
        return folder
    return next((folder / one.folder for one in _read_index(folder).captures if one.value == value), None)


def _read_index(folder: Path) -> IndexFile:
    from vdnnsim.captured.index import IndexFile  # pydantic is slow to import

    return read_toml(folder / INDEX, IndexFile)


def write_steps(varied: str, steps: Mapping[Value, CapturedStep], folder: str | Path) -> None:
    """Write captured steps by the values of what is varied, all or none; captures that are there are replaced. Raises
    as `write_step`."""
    import tomli_w

    folder = Path(folder)
    check_steps_writable(folder)
    with whole_folder(folder) as new:
        captures = []
        for value, step in steps.items():
            name = f"{varied}_{value}".replace("/", "_")
            write_step(step, new / name)
            captures.append({"folder": name, "value": value})
        write_text(new / INDEX, tomli_w.dumps({"schema": 1, "varied": varied, "captures": captures}))


def check_steps_writable(folder: Path) -> None:
    """Before long work: raise `CannotWrite` where captures could not be written in the end."""
    check_folder_writable(folder, is_steps, "folder of captures")


def check_of_model(folder: Path, model_sha256: str) -> None:
    """Before captures of a model replace what is in a folder: raise `InvalidInput` where that is captured of other
    models alone; `InvalidFile` where it cannot be read."""
    if is_steps(folder):
        there = [folder / one.folder for one in _read_index(folder).captures]
    else:
        there = [folder] if is_step(folder) else []
    headers = [read_header(one)[0] for one in there]
    if headers and model_sha256 not in {header.model_sha256 for header in headers}:
        found = f"found a capture of another model ({headers[0].name}, digest {headers[0].model_sha256[:8]})"
        raise InvalidInput(
            f"{folder}: {found}, expected none, or one of this model ({model_sha256[:8]}), to be replaced; choose "
            "another name, or delete it first"
        )
