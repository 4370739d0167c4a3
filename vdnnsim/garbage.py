"""Python's collector of cyclic garbage in processes that simulate: they make many records and keep them, few of which
go in circles. Commands that measure leave it as they find it."""

from __future__ import annotations

import gc

_OBJECTS = 50_000


def collect_seldom() -> None:
    """Look through so many new objects at once: at Python's 700 that takes a seventh of a command."""
    gc.set_threshold(_OBJECTS)
