"""What each of several streams gets of links that they share: max-min fairness, less what copies out take of those in.

A share is max-min fair where none can grow but at the cost of one that is as small or smaller: whoever gets less than
it asks for crosses a link that is full, and on that link nobody has more. (Bertsekas and Gallager, *Data Networks*,
1992, 6.5.2.) It is found by letting all shares rise together, and holding those that have what they ask for, or whose
link has become full.

Where it was measured what copies out leave of copies in (`SharedLink.in_beside_out`), those out have their fair shares,
and those in what is left: each at most so much less than its fair share, all at most so much less than their limit.
What a GPU's own copies out take of its copies in stands in its profile, and so in what these ask for.
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
    if not limits:
        return shares
    if len(limits) == 1:
        return _within_one(shares, times, limits[0])
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


def _within_one(shares: list[int], times: Sequence[int], limit: Limit) -> list[int]:
    """The same of one limit, which is exceeded: whoever asks for least is held first."""
    room, rest = limit.most, sum([times[stream] for stream in limit.streams])
    for stream in sorted(limit.streams, key=shares.__getitem__):
        level = room // rest
        if shares[stream] > level:
            shares[stream] = level
        else:
            room -= times[stream] * shares[stream]
            rest -= times[stream]
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
        self._outs_slow_ins = bool(link.in_beside_out)
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
        """Whether they ask for more than the link carries, or those out slow those in."""
        outs, ins = self._asked
        if self._outs_slow_ins and all(self._streams):
            return True
        out, back, total = self._most[(self._streams[OUT] > 0) + 2 * (self._streams[IN] > 0)]
        return outs > out or ins > back or outs + ins > total


class Sharing:
    """The shares of copies on a host's links."""

    def __init__(self, topology: Topology) -> None:
        self._paths = [topology.path(gpu) for gpu in range(len(topology.gpus))]
        self._known: dict[tuple[Stream, ...], tuple[list[Limit], list[_Crossed]]] = {}

    def loads(self) -> list[tuple[Load, ...]]:
        """For each GPU the loads, none as yet, of the links on its way that carry no more than so much."""
        loads: dict[str, Load] = {}
        return [tuple(loads.setdefault(link.name, Load(link)) for link in path if link.limited) for path in self._paths]

    def slowdowns_ppm(self, asked: Sequence[Asked]) -> list[int]:
        """By how much each of these streams is slowed, in parts per million, where all of them copy at once."""
        streams, demands, counts = zip(*asked, strict=True) if asked else ((), (), ())
        if streams not in self._known:
            slowed = [one for one in self._crossed(streams) if one.link.in_beside_out and one.outs and one.ins]
            self._known[streams] = self.limits(streams), slowed
        limits, slowed = self._known[streams]
        shares = max_min_shares(demands, limits, counts)
        if slowed:
            shares = _left_beside_outs([gpu for gpu, _ in streams], demands, shares, counts, slowed)
        return [
            PPM if share >= demand else -(-demand * PPM // max(1, share))
            for demand, share in zip(demands, shares, strict=True)
        ]

    def limits(self, streams: Sequence[Stream]) -> list[Limit]:
        """What the links carry while these streams copy, by the streams' places."""
        found = []
        for link, outs, ins in self._crossed(streams):
            most = link.carries(bool(outs), bool(ins))
            for limit, places in zip(most, (outs, ins, outs + ins), strict=True):
                if limit is not None and places:
                    found.append(Limit(limit, places))
        return found

    def _crossed(self, streams: Sequence[Stream]) -> list[_Crossed]:
        crossed: dict[str, _Crossed] = {}
        for place, (gpu, direction) in enumerate(streams):
            for link in self._paths[gpu]:
                one = crossed.setdefault(link.name, _Crossed(link, [], []))
                (one.outs, one.ins)[direction].append(place)
        return list(crossed.values())


class _Crossed(NamedTuple):
    """A link and the places of the streams out and in that cross it."""

    link: SharedLink
    outs: list[int]
    ins: list[int]


def _left_beside_outs(
    gpus: Sequence[int], demands: Sequence[int], fair: Sequence[int], counts: Sequence[int], slowed: Sequence[_Crossed]
) -> list[int]:
    """Shares where copies out slow copies in on these links, from those that are max-min fair. No stream has more than
    its fair share, and a GPU by itself has that."""
    shares = list(fair)
    limits = []
    for link, outs, ins in slowed:
        left_ppm = link.in_beside_out_ppm(sum([counts[place] * fair[place] for place in outs]))
        own_ppm = {gpus[place]: link.in_beside_out_ppm(fair[place]) for place in outs}
        for place in ins:
            shares[place] = min(shares[place], demands[place] * left_ppm // own_ppm.get(gpus[place], PPM))
        if link.in_bytes_per_s is not None:
            most = link.in_bytes_per_s * left_ppm // PPM
            limits.append(Limit(max(most, *(shares[place] for place in ins)), ins))
    return max_min_shares(shares, limits, counts)
