"""A folder that one process at a time writes into. On its own, since not every system has locks of this kind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vdnnsim.errors import InvalidInput


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """As `hold_folder`, for a block."""
    handle = hold_folder(folder)
    try:
        yield
    finally:
        os.close(handle)


def hold_folder(folder: Path) -> int:
    """Make a folder where there is none, and hold it against other processes that ask the same, until the handle that
    this returns is closed or the process ends, however that ends. Raises `InvalidInput` where the folder cannot be
    written or another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise InvalidInput(f"cannot write {folder}: {error.strerror}; choose a writable folder") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InvalidInput(f"{folder}: another process is writing into it; wait, or choose another folder") from None
    return handle
