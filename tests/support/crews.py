"""Crews without the start of a process, and a member of one that costs nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Thread

from vdnnsim.crew import Closing, Crew, serve
from vdnnsim.errors import InvalidInput


class Counter:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def count(self, more: int) -> int:
        self.asked += more
        return self.asked

    def refuse(self, word: str) -> None:
        raise InvalidInput(word)

    def stumble(self) -> None:
        raise ZeroDivisionError("by zero\nand more of it")

    def sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def end(self) -> None:
        os._exit(3)

    def close(self) -> None:
        pass


def thread_crew(makes: Mapping[str, Callable[[], Closing]]) -> Crew:
    """The objects live in threads of this process; all that is said still goes through pipes."""
    return Crew(makes, _start_thread)


def _start_thread(make: Callable[[], Closing], name: str) -> tuple[Connection, Callable[[], int | None]]:
    ours, theirs = Pipe()
    thread = Thread(target=serve, args=(theirs, make), name=name, daemon=True)
    thread.start()

    def end() -> None:
        thread.join(5)

    return ours, end
