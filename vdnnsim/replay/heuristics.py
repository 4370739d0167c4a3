"""Which storage goes when memory is short: DTR's h and what it is compared with.

Kirisame et al., *Dynamic Tensor Rematerialization* (ICLR 2021); rules read in simrd (uwsampl/dtr-prototype at
eff53cc4), `heuristic/dtr.py`, `etc.py` and `optimization/`. The storage of the least score goes; of equals the one that
came last to be evictable, but the first of those whose score is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import Any, ClassVar

from vdnnsim.replay.tensors import WAYS, Storage


class Heuristic:
    """What each storage is worth: by bytes alone, and told of nothing. Other heuristics are of this kind."""

    around: ClassVar[bool] = False
    """Whether it asks what lies around a storage."""

    def scores(self, pool: Sequence[Storage], clock_ns: int) -> list[float]:
        """The score of each; what is large goes."""
        del clock_ns
        return [1 / one.size_bytes if one.size_bytes else inf for one in pool]

    def begun(self, storages: Iterable[Storage]) -> None:
        """These are about to be made for the first time."""

    def made(self, storages: Iterable[Storage]) -> None:
        """These have come to be there."""

    def evicted(self, storage: Storage) -> None:
        """This one is not there any more."""


class LeastRecentlyUsed(Heuristic):
    """What was used longest ago goes."""

    def scores(self, pool: Sequence[Storage], clock_ns: int) -> list[float]:
        del clock_ns
        return [one.used_ns for one in pool]


class Local(Heuristic):
    """h_DTR local: cost over bytes and staleness, its own cost alone."""

    def scores(self, pool: Sequence[Storage], clock_ns: int) -> list[float]:
        return [
            one.cost_ns / below if (below := one.size_bytes * (clock_ns - one.used_ns)) > 0 else inf for one in pool
        ]


class Region:
    """What is gone on one side of a storage (`inside`), as far as nothing lies between that is there, the cost of all
    that, and what is there behind it (`edge`); `stale` where it has to be looked for anew before it is used."""

    __slots__ = ("cost_ns", "edge", "inside", "stale")

    def __init__(self) -> None:
        self.cost_ns = 0
        self.inside: set[Storage] = set()
        self.edge: set[Storage] = set()
        self.stale = False

    def refresh(self, base: Storage, way: int) -> None:
        """Look for it anew."""
        self.stale = False
        self.edge = edge = set(base.near[way])
        self.inside = inside = set(base.gone[way])
        waiting = [*inside]
        while waiting:
            one = waiting.pop()
            edge |= one.near[way]
            more = one.gone[way] - inside
            inside |= more
            waiting += more
        edge.discard(base)
        self.cost_ns = sum([one.cost_ns for one in inside])

    def absorb(self, gone: Storage, behind: Region) -> None:
        """One of the edge is gone, and so what is behind it belongs to this."""
        self.edge.discard(gone)
        self.edge |= behind.edge
        more = behind.inside - self.inside
        more.add(gone)
        self.cost_ns += sum([one.cost_ns for one in more])
        self.inside |= more


class Neighbourhood(Heuristic):
    """h_DTR: its cost and that of what is gone around it, over bytes and staleness. Regions grow as storages go, and
    are looked for anew where something came back."""

    around = True

    def scores(self, pool: Sequence[Storage], clock_ns: int) -> list[float]:
        found: list[float] = []
        for one in pool:
            below = one.size_bytes * (clock_ns - one.used_ns)
            if below <= 0:
                found.append(inf)
                continue
            above, under = _regions(one)
            found.append((one.cost_ns + above.cost_ns + under.cost_ns) / below)
        return found

    def begun(self, storages: Iterable[Storage]) -> None:
        for one in storages:
            one.notes = (Region(), Region())

    def made(self, storages: Iterable[Storage]) -> None:
        for one in storages:
            regions: Any = one.notes
            for way in WAYS:
                regions[way].refresh(one, way)
                for other in regions[way].edge:
                    other.notes[1 - way].stale = True

    def evicted(self, storage: Storage) -> None:
        regions = _regions(storage)
        for way in WAYS:
            for one in regions[1 - way].edge:
                notes: Any = one.notes
                if not notes[way].stale:
                    notes[way].absorb(storage, regions[way])


def _regions(one: Storage) -> tuple[Region, Region]:
    """Its regions, as they are now."""
    regions: tuple[Region, Region] = one.notes  # type: ignore[assignment]
    for way in WAYS:
        if regions[way].stale:
            regions[way].refresh(one, way)
    return regions


class _Class:
    """A node of a union-find over what is gone; a root has the cost of its class."""

    __slots__ = ("above", "cost_ns")

    def __init__(self, cost_ns: int) -> None:
        self.cost_ns = cost_ns
        self.above: _Class | None = None

    def root(self) -> _Class:
        top = self
        while top.above is not None:
            top = top.above
        node = self
        while node.above is not None:
            node.above, node = top, node.above
        return top


class Classes(Heuristic):
    """h_DTR by equivalence classes: what is gone and near each other is one class, in union-find; what comes back
    leaves its class without parting it. Its first making is taken off a class, too, as simrd does."""

    around = True

    def scores(self, pool: Sequence[Storage], clock_ns: int) -> list[float]:
        found = []
        for one in pool:
            below = one.size_bytes * (clock_ns - one.used_ns)
            found.append((one.cost_ns + sum(self._around(one).values())) / below if below > 0 else inf)
        return found

    @staticmethod
    def _around(one: Storage) -> dict[_Class, int]:
        gone: list[Any] = [near.notes for way in WAYS for near in one.gone[way]]
        return {root: root.cost_ns for root in (node.root() for node in gone)}

    def begun(self, storages: Iterable[Storage]) -> None:
        for one in storages:
            one.notes = _Class(0)

    def made(self, storages: Iterable[Storage]) -> None:
        for one in storages:
            node: Any = one.notes
            node.root().cost_ns -= one.cost_ns

    def evicted(self, storage: Storage) -> None:
        node = _Class(storage.cost_ns)
        storage.notes = node
        for root in self._around(storage):
            if root is not node:
                root.above = node
                node.cost_ns += root.cost_ns


HEURISTICS: Mapping[str, Callable[[], Heuristic]] = MappingProxyType(
    {"dtr": Neighbourhood, "dtr-classes": Classes, "local": Local, "lru": LeastRecentlyUsed, "size": Heuristic}
)
"""By name."""


def victim(scores: Sequence[float]) -> int:
    """The place of the storage that goes."""
    least = min(scores)
    if least == 0:
        return scores.index(least)
    return next(place for place in range(len(scores) - 1, -1, -1) if scores[place] == least)
