"""The processor that gives the commands: on which core, and whether that core runs at full speed.

A core may share its execution units with a neighbour, which in a virtual machine nobody sees. On the machine that the
H200 was measured in, each core ran at full speed or, for seconds at a time, at half of it: a short loop took 31 or
55 ns a turn, a question to the driver 0.58 or 1.1 us, the launch of a graph 2.6 or 4.7 us, and an iteration of two
thousand commands 127 or 133 ms. Nothing lies between the two, so that a short loop before and after tells them apart.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

_FEWEST_CORES = 4
"""On fewer cores, the thread stays where the system puts it."""
_TURNS = 2000
SLOW = 1.25
"""A probe that takes so many times the fastest found its core slower than it can be."""
Hold = Callable[[int | None], AbstractContextManager[None]]
"""Keeps the thread on one core for as long as it is entered; on None, wherever it is."""


def probe_ns() -> int:
    """The time of a short loop: the best of three, since an interrupt may fall into one."""
    best_ns = 1 << 62
    for _ in range(3):
        begin_ns = time.perf_counter_ns()
        total = 0
        for turn in range(_TURNS):
            total += turn
        best_ns = min(best_ns, time.perf_counter_ns() - begin_ns)
    return best_ns


class Host:
    """The cores of this process, or those that are named. `core` is the one on which measurements are taken, or None
    where there are few."""

    name = "host"

    def __init__(
        self, probe: Callable[[], int] = probe_ns, cores: Sequence[int] | None = None, hold: Hold | None = None
    ) -> None:
        self._probe = probe
        self._hold = hold or _on
        self._cores = _own_cores() if cores is None else list(cores)
        self.core = self._cores[0] if self._cores else None
        self.fastest_ns = min(self.probe_on(core) for core in (self.core, self.core, *self._cores))

    def settle(self) -> bool:
        """Stay on the present core where it runs at full speed, or move to one that does; False where none does."""
        for core in (self.core, *self._cores):
            if self._fast_on(core):
                self.core = core
                return True
        return False

    def held(self) -> bool:
        """Whether the present core runs at full speed now."""
        return self._fast_on(self.core)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Keep this thread on the core, and Python's collector of cyclic garbage out of what is timed."""
        was_on = gc.isenabled()
        gc.disable()
        try:
            with self._hold(self.core):
                yield
        finally:
            if was_on:
                gc.enable()

    def _fast_on(self, core: int | None) -> bool:
        found_ns = self.probe_on(core)
        self.fastest_ns = min(self.fastest_ns, found_ns)
        return found_ns <= SLOW * self.fastest_ns

    @property
    def cores(self) -> Sequence[int | None]:
        """The cores to choose from; None alone where the thread stays where it is."""
        return self._cores or (None,)

    def probe_on(self, core: int | None) -> int:
        """How long the short loop takes on a core now."""
        with self._hold(core):
            return self._probe()


def _own_cores() -> list[int]:
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return cores[::-1] if len(cores) > _FEWEST_CORES else []


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """Hold this thread on one core."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
