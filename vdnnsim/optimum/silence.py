"""Silence on standard output: the solver's library now and then prints a line of its own there, amid a table or CSV."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT = 1


@contextmanager
def silence() -> Iterator[None]:
    """What is written to the process's standard output meanwhile is lost, C's buffers included; as it is where that
    is closed."""
    try:
        kept = os.dup(_STDOUT)
    except OSError:
        yield
        return
    if sys.stdout is not None:
        sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDOUT)
    os.close(nowhere)
    try:
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(kept, _STDOUT)
        os.close(kept)
