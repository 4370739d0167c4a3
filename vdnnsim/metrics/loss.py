"""What an iteration takes longer than the oracle's, by cause: the difference of how the two were spent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vdnnsim.metrics.spent import Spent
from vdnnsim.timeline import COPY_OUT, StallRecord


class Loss(NamedTuple):
    """Nanoseconds more than the oracle's; the parts add up to the difference of the iterations. One may be negative:
    longer kernels hide calls of the host that the oracle's do not."""

    algorithms_ns: int
    copies_out_ns: int
    copies_in_ns: int
    late_fetches_ns: int
    host_ns: int
    synchronise_ns: int
    again_ns: int = 0

    @property
    def total_ns(self) -> int:
        return sum(self)


LOSS_WORDS = {
    "algorithms_ns": "slower algorithms",
    "again_ns": "kernels run again",
    "copies_out_ns": "copies out",
    "copies_in_ns": "copies in",
    "late_fetches_ns": "late fetches",
    "host_ns": "the host's calls",
    "synchronise_ns": "synchronising",
}
"""What each part of a loss is called."""
LOSS_BINDS = {
    "algorithms_ns": "algorithm",
    "again_ns": "recompute",
    "copies_out_ns": "link",
    "copies_in_ns": "link",
    "late_fetches_ns": "fetch",
    "host_ns": "host",
    "synchronise_ns": "host",
}
"""What binds where a part of the loss is the largest."""
BINDING = 50
"""A part of the loss, or the host's time, binds an iteration from this part of it on: one fiftieth."""


def loss_against(own: Spent, oracle: Spent) -> Loss:
    """What one iteration lost against another."""
    return Loss(*(mine - best for mine, best in zip(own, oracle, strict=True)))


def loss_to_copies(own: Spent) -> Loss:
    """The loss against the same iteration if no copy were ever waited for: all that is known without an oracle."""
    return loss_against(own, own._replace(copies_out_ns=0, copies_in_ns=0, late_fetches_ns=0))


def stalls_by_copy_ns(stalls: Iterable[StallRecord]) -> dict[str, int]:
    """How long each copy was waited for, under "out NAME", "in NAME" or, of a late fetch, "late NAME"."""
    by_copy_ns: dict[str, int] = {}
    for stall in stalls:
        way = "out" if stall.direction == COPY_OUT else "late" if stall.late else "in"
        name = f"{way} {stall.buffer.removeprefix('map:')}"
        by_copy_ns[name] = by_copy_ns.get(name, 0) + stall.duration_ns
    return by_copy_ns
