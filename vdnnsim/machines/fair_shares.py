"""What each of several streams gets of links that they share: max-min fairness.

A share is max-min fair where none can grow but at the cost of one that is as small or smaller: whoever gets less than
it asks for crosses a link that is full, and on that link nobody has more. (Bertsekas and Gallager, *Data Networks*,
1992, 6.5.2.) It is found by letting all shares rise together, and holding those that have what they ask for, or whose
link has become full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vdnnsim.topology import SharedLink, Topology
from vdnnsim.units import PPM

OUT, IN = 0, 1
_ENDLESS = 1 << 100


class Limit(NamedTuple):
    """So much, at most, of all of these streams together."""

    most: int
    streams: Sequence[int]


def max_min_shares(demands: Sequence[int], limits: Sequence[Limit], counts: Sequence[int] | None = None) -> list[int]:
    """The share of each stream, in the unit of demands and limits, rounded down. Where `counts` are given, each stands
    for so many equal ones."""
    shares = list(demands)
    times = counts or [1] * len(shares)
    limits = [
        limit for limit in limits if sum([times[stream] * demands[stream] for stream in limit.streams]) > limit.most
    ]
    rising = {stream for limit in limits for stream in limit.streams}
    left = [limit.most for limit in limits]
    crossing = [set(limit.streams) for limit in limits]
    while rising:
        level, full = min(
            (room // sum([times[stream] for stream in streams]), number)
            for number, (room, streams) in enumerate(zip(left, crossing, strict=True))
            if streams
        )
        held = {stream for stream in rising if demands[stream] <= level}
        if not held:
            held = crossing[full].copy()
            for stream in held:
                shares[stream] = level
        rising -= held
        for number, streams in enumerate(crossing):
            left[number] -= sum([times[stream] * shares[stream] for stream in streams & held])
            streams -= held
    return shares


Stream = tuple[int, int]
"""A GPU by its number, and the direction of its copies."""
Asked = tuple[Stream, int, int]
"""A stream, the bytes per second that it asks for, and how many GPUs with the same way it stands for."""


class Load:
    """What the copies of this moment ask of a link."""

    def __init__(self, link: SharedLink) -> None:
        self._streams = [0, 0]
        self._asked = [0, 0]
        self._most = [
            [_ENDLESS if most is None else most for most in link.carries(outs, ins)]
            for ins in (False, True)
            for outs in (False, True)
        ]

    def change(self, direction: int, streams: int, asked: int) -> None:
        """So many streams more in this direction, and so much more that is asked for."""
        self._streams[direction] += streams
        self._asked[direction] += asked

    @property
    def too_much(self) -> bool:
        """Whether they ask for more than the link carries."""
        outs, ins = self._asked
        out, back, total = self._most[(self._streams[OUT] > 0) + 2 * (self._streams[IN] > 0)]
        return outs > out or ins > back or outs + ins > total


class Sharing:
    """The shares of copies on a host's links."""

    def __init__(self, topology: Topology) -> None:
        self._paths = [topology.path(gpu) for gpu in range(len(topology.gpus))]
        self._limits: dict[tuple[Stream, ...], list[Limit]] = {}

    def loads(self) -> list[tuple[Load, ...]]:
        """For each GPU the loads, none as yet, of the links on its way that carry no more than so much."""
        loads: dict[str, Load] = {}
        return [tuple(loads.setdefault(link.name, Load(link)) for link in path if link.limited) for path in self._paths]

    def slowdowns_ppm(self, asked: Sequence[Asked]) -> list[int]:
        """By how much each of these streams is slowed, in parts per million, where all of them copy at once."""
        streams, demands, counts = zip(*asked, strict=True) if asked else ((), (), ())
        if streams not in self._limits:
            self._limits[streams] = self.limits(streams)
        shares = max_min_shares(demands, self._limits[streams], counts)
        return [
            PPM if share >= demand else -(-demand * PPM // max(1, share))
            for demand, share in zip(demands, shares, strict=True)
        ]

    def limits(self, streams: Sequence[Stream]) -> list[Limit]:
        """What the links carry while these streams copy, by the streams' places."""
        crossing: dict[str, tuple[list[int], list[int]]] = {}
        links = {}
        for place, (gpu, direction) in enumerate(streams):
            for link in self._paths[gpu]:
                links[link.name] = link
                crossing.setdefault(link.name, ([], []))[direction].append(place)
        found = []
        for name, (outs, ins) in crossing.items():
            most = links[name].carries(bool(outs), bool(ins))
            for limit, places in zip(most, (outs, ins, outs + ins), strict=True):
                if limit is not None and places:
                    found.append(Limit(limit, places))
        return found
