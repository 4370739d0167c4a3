"""A word on standard error while a command is at work: soon on a terminal, and every ten seconds everywhere, so that a
job's log shows that it lives. Commands that tell how far they are do so themselves."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SOON_S, EVERY_S = 1.0, 10.0
QUIET = "VDNNSIM_QUIET"
"""A variable of the environment: with anything in it nothing is said."""
TELL_THEMSELVES = ("calibrate", "sweep")


@contextmanager
def waiting(name: str) -> Iterator[None]:
    """While the body runs, tell now and then that the command of this name does."""
    if name in TELL_THEMSELVES or os.environ.get(QUIET) or sys.stderr is None:
        yield
        return
    done = threading.Event()
    soon = (SOON_S,) if sys.stderr.isatty() else ()
    teller = threading.Thread(target=_tell, args=(name, done, soon), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()


def now_and_then(name: str) -> Callable[[str], object]:
    """What is called with how far a command of this name is, as often as that is known, and says it every ten seconds;
    where nothing is to be said, nothing."""
    if os.environ.get(QUIET):
        return str
    begun_s = last_s = time.monotonic()

    def tell(how_far: str) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= EVERY_S:
            last_s = now_s
            _say(f"{name}: {now_s - begun_s:.0f} s, {how_far}")

    return tell


def _tell(name: str, done: threading.Event, soon: tuple[float, ...]) -> None:
    spent_s = 0.0
    for at_s in soon:
        if done.wait(at_s):
            return
        spent_s = at_s
        _say(f"vdnnsim {name}: at work")
    while not done.wait(EVERY_S - spent_s % EVERY_S):
        spent_s += EVERY_S - spent_s % EVERY_S
        _say(f"vdnnsim {name}: at work for {spent_s:.0f} s")


def _say(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody reads it, or it is closed: the command's own end says so
        return
