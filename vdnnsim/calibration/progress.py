"""How long measurements tell how far they are: a call with what is done, out of what, and what is under way."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int, str], None]
"""Called with (parts done, parts in all, what comes now)."""


def silent(done: int, total: int, now: str) -> None:
    """Tell nobody."""
