"""What a stall is: the same rule on both machines.

The compute engine is idle because its next kernel waits for a copy, whoever does the waiting: the host, before it
gives the kernel; the kernel, which has been given, by a wait of its stream; or the end of the iteration. Time in which
kernels given before still run is no stall, nor is the time before somebody waits, nor what the call that waits costs;
the order in which streams are waited for does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Stall(NamedTuple):
    """From when to when, and the engine whose last copy given was waited for."""

    begin_ns: int
    end_ns: int
    engine: int


def stall_of(begin_ns: int, kernels_end_ns: int, copies_end_ns: Iterable[tuple[int, int]]) -> Stall | None:
    """The stall of a wait that begins then, when the kernels given before it end at `kernels_end_ns` and the copies
    that it waits for at these (time, engine); None where there is none. Of two copies that end together the one of the
    higher engine counts, which is the copy in."""
    end_ns, engine = max(copies_end_ns, default=(0, 0))
    idle_ns = begin_ns if begin_ns > kernels_end_ns else kernels_end_ns
    return Stall(idle_ns, end_ns, engine) if end_ns > idle_ns else None
