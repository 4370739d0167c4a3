"""A host as several GPUs see it: the links that they share on the way to its memory, a tree for each memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from vdnnsim.errors import InvalidValue
from vdnnsim.units import PPM

_LIMITS = (
    "out_bytes_per_s", "in_bytes_per_s", "both_out_bytes_per_s", "both_in_bytes_per_s", "total_bytes_per_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SharedLink:
    """One link, on the way `to` another one; memory is the end of the way. It carries so many bytes per second of all
    GPUs together: out, in, both counted together, and each way while both are used. None: no limit is known.

    `in_beside_out` says what all copies out together, in bytes per second, leave of copies in, in parts per million of
    what these reach without, each and all of them; rising in the first, falling in the second. Empty: nothing is
    known."""

    name: str
    kind: str
    to: str | None = None
    out_bytes_per_s: int | None = None
    in_bytes_per_s: int | None = None
    both_out_bytes_per_s: int | None = None
    both_in_bytes_per_s: int | None = None
    total_bytes_per_s: int | None = None
    provenance: str = "modelled"
    source: str = ""
    in_beside_out: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    @property
    def limits(self) -> tuple[int | None, ...]:
        """Out, in, each while both are used, and both together."""
        return tuple(getattr(self, name) for name in _LIMITS)

    def carries(self, outs: bool, ins: bool) -> tuple[int | None, int | None, int | None]:
        """Out, in and both together, while it is used in these directions."""
        if outs and ins:
            both = (self.both_out_bytes_per_s, self.both_in_bytes_per_s)
            out, back = (
                one if limit is None else limit
                for one, limit in zip((self.out_bytes_per_s, self.in_bytes_per_s), both, strict=True)
            )
            return out, back, self.total_bytes_per_s
        return self.out_bytes_per_s, self.in_bytes_per_s, self.total_bytes_per_s

    def in_beside_out_ppm(self, out_bytes_per_s: int) -> int:
        """What so much out leaves of copies in: on straight lines from nothing out to the first measured point and on;
        beyond the last as there."""
        for (low, share_low), (high, share_high) in pairwise(((0, PPM), *self.in_beside_out)):
            if out_bytes_per_s < high:
                return share_low + (share_high - share_low) * (out_bytes_per_s - low) // (high - low)
        return self.in_beside_out[-1][1] if self.in_beside_out else PPM

    def unlimited(self) -> SharedLink:
        """The same without a limit."""
        return SharedLink(self.name, self.kind, self.to, provenance=self.provenance, source=self.source)

    @property
    def limited(self) -> bool:
        """Whether any limit is known, or what copies out leave of those in."""
        return bool(self.in_beside_out) or any(limit is not None for limit in self.limits)


class Most(NamedTuple):
    """Bytes per second that the copies of a GPU ask for at most: out, in, and both together."""

    out_bytes_per_s: int
    in_bytes_per_s: int
    total_bytes_per_s: int


@dataclass(frozen=True)
class Topology:
    """The shared links of a host by name, and for each GPU the first one that it meets; its own link stands in its
    profile. Made whole: every way ends in a memory (`read_topology` checks)."""

    name: str
    title: str
    links: Mapping[str, SharedLink]
    gpus: tuple[str, ...]

    def path(self, gpu: int) -> tuple[SharedLink, ...]:
        """The shared links of a GPU, from its own on to the memory."""
        found = [self.links[self.gpus[gpu]]]
        while found[-1].to is not None:
            found.append(self.links[found[-1].to])
        return tuple(found)

    def first(self, gpus: int) -> Topology:
        """The same with so many GPUs, the first ones. Raises `InvalidValue` for more than there are."""
        if not 1 <= gpus <= len(self.gpus):
            raise InvalidValue("gpus", str(gpus), f"from 1 to the {len(self.gpus)} of topology {self.name}")
        return Topology(self.name, self.title, self.links, self.gpus[:gpus])

    def sharing(self) -> list[list[int]]:
        """The GPUs that a link's limit makes depend on each other, together; those that meet no limit are in none."""
        groups: list[tuple[set[str], list[int]]] = []
        for gpu in range(len(self.gpus)):
            met = {link.name for link in self.path(gpu) if link.limited}
            if not met:
                continue
            joined = [group for group in groups if group[0] & met]
            groups = [group for group in groups if not group[0] & met]
            names = met.union(*(names for names, _ in joined))
            groups.append((names, sorted([gpu, *(one for _, gpus in joined for one in gpus)])))
        return [gpus for _, gpus in groups]

    def that_binds(self, most: Sequence[Most]) -> Topology:
        """The same with no limit on links that carry all that these GPUs may ask for, whenever they ask."""
        asked: dict[str, list[Most]] = {}
        for gpu, its in enumerate(most):
            for link in self.path(gpu):
                asked.setdefault(link.name, []).append(its)
        links = dict(self.links)
        for name, each in asked.items():
            outs, ins, total = (sum(column) for column in zip(*each, strict=True))
            carried = zip(links[name].limits, (outs, ins, outs, ins, total), strict=True)
            by_itself = len(each) == 1 or not links[name].in_beside_out
            if by_itself and all(limit is None or most <= limit for limit, most in carried):
                links[name] = links[name].unlimited()
        return Topology(self.name, self.title, links, self.gpus)

    def shape(self, gpus: Sequence[int]) -> object:
        """What the links of these GPUs carry and how they hang together: equal for others whose links differ in their
        names alone."""
        numbers: dict[str, int] = {}
        ways = []
        for gpu in gpus:
            limited = [link for link in self.path(gpu) if link.limited]
            ways.append(
                tuple(
                    (numbers.setdefault(link.name, len(numbers)), link.limits, link.in_beside_out) for link in limited
                )
            )
        return tuple(ways)

    @property
    def provenance(self) -> tuple[str, ...]:
        """The labels of all links that carry no more than so much and that some GPU meets."""
        met = {link for gpu in range(len(self.gpus)) for link in self.path(gpu)}
        return tuple(sorted({link.provenance for link in met if link.limited}))

    @property
    def sha256(self) -> str:
        """A digest of everything in it."""
        links = sorted(self.links.items())
        curves = [(name, link.in_beside_out) for name, link in links if link.in_beside_out]
        return hashlib.sha256(repr((self.name, links, self.gpus, *curves)).encode()).hexdigest()
