"""A logged program replayed under several heuristics, memories and budgets, beside its own run in endless memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vdnnsim.errors import InvalidValue
from vdnnsim.replay.log import LoggedProgram
from vdnnsim.replay.memory import BYTES
from vdnnsim.replay.runtime import Outcome, Replayed, replay

SHARES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
"""Of the peak: the budgets of DTR's paper."""
LIMIT = 2.0
"""From how many times its own time on a replay is given up, there."""


class Replay(NamedTuple):
    """One replay: under which heuristic, in which memory, of how many bytes, and what came out."""

    heuristic: str
    memory: str
    budget_bytes: int
    replayed: Replayed

    @property
    def done(self) -> bool:
        """Whether it came to its end."""
        return self.replayed.outcome is Outcome.DONE


@dataclass(frozen=True)
class Replays:
    """All of them, those of a heuristic and memory next to each other, in the order of `budgets_bytes`."""

    log: LoggedProgram
    budgets_bytes: tuple[int, ...]
    limit: float
    replays: tuple[Replay, ...]

    def rows(self) -> list[dict[str, str | int | float]]:
        """A row for each replay, its overhead empty where it was not done."""
        return [
            {
                "program": self.log.name,
                "heuristic": one.heuristic,
                "memory": one.memory,
                "budget_bytes": one.budget_bytes,
                "outcome": one.replayed.outcome.value,
                "overhead": one.replayed.overhead(self.log) if one.done else "",
                "operators_ns": one.replayed.operators_ns,
                "again_ns": one.replayed.again_ns,
                "peak_bytes": one.replayed.peak_bytes,
                "evictions": one.replayed.evictions,
            }
            for one in self.replays
        ]

    def overhead(self, heuristic: str, budget_bytes: int, memory: str = BYTES) -> float | None:
        """Time over that of the program in endless memory; None where it was not done."""
        for one in self.replays:
            if (one.heuristic, one.memory, one.budget_bytes) == (heuristic, memory, budget_bytes):
                return one.replayed.overhead(self.log) if one.done else None
        raise InvalidValue("replay", f"{heuristic}, {memory}, {budget_bytes} bytes", "one that was asked for")


def compare_replays(
    log: LoggedProgram,
    heuristics: Sequence[str] = ("dtr", "local", "lru"),
    memories: Sequence[str] = (BYTES,),
    budgets: Sequence[float | int] = SHARES,
    limit: float = LIMIT,
) -> Replays:
    """Replay a program. A budget is a share of its peak where it is a float, else bytes. Raises `UnknownName`."""
    sizes = tuple(int(log.peak_bytes * one) if isinstance(one, float) else one for one in budgets)
    replays = tuple(
        Replay(heuristic, memory, size, replay(log, heuristic, size, memory, limit))
        for heuristic in heuristics
        for memory in memories
        for size in sizes
    )
    return Replays(log, sizes, limit, replays)
