"""A script of disturbances: which part of the fake machine runs how many times slower than it can, and when.

Each part's slowness is constant between moments that the script names, and the product of all that is under way.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterable
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

_MS = 1_000_000


class What(StrEnum):
    """What is disturbed. Another process is on the card: it slows kernels as a lower clock does, and holds memory."""

    HOST = "host"
    LINK_OUT = "link out"
    LINK_IN = "link in"
    LINK_BOTH = "link both"
    CLOCK = "clock"
    OTHER_PROCESS = "other process"


class Part(StrEnum):
    """What runs slower."""

    __hash__ = str.__hash__  # an Enum's own is a call of Python's, and the host's is looked up at every call

    HOST = "host"
    OUT = "out"
    IN = "in"
    KERNELS = "kernels"


_PARTS = {
    What.HOST: (Part.HOST,),
    What.LINK_OUT: (Part.OUT,),
    What.LINK_IN: (Part.IN,),
    What.LINK_BOTH: (Part.OUT, Part.IN),
    What.CLOCK: (Part.KERNELS,),
    What.OTHER_PROCESS: (Part.KERNELS,),
}


Rate = int | Fraction
"""Exact: mostly 1, which costs least as an integer."""


def plain(rate: Fraction) -> Rate:
    """The same as an integer where it is one."""
    return int(rate) if rate.denominator == 1 else rate


def done(elapsed_ns: int, slowness: Rate) -> Rate:
    """How much is done meanwhile of what takes `slowness` times as long as it can."""
    return elapsed_ns if slowness == 1 else plain(Fraction(elapsed_ns) / slowness)


class Disturbance(NamedTuple):
    """`what` takes `factor` times as long, to a thousandth, from one moment of the virtual clock until another; of the
    host one `core`, or all of them where it is None."""

    what: What
    from_ns: int
    to_ns: int
    factor: float
    core: int | None = None


class Course:
    """The slowness of one part over time."""

    def __init__(self, disturbances: Iterable[Disturbance]) -> None:
        found = list(disturbances)
        self.moments_ns = sorted({moment for one in found for moment in (one.from_ns, one.to_ns)})
        begins = sorted(found, key=lambda one: -one.from_ns)
        under_way: list[Disturbance] = []
        self._slowness: list[Rate] = [1]
        for moment_ns in self.moments_ns:
            while begins and begins[-1].from_ns <= moment_ns:
                under_way.append(begins.pop())
            under_way = [one for one in under_way if one.to_ns > moment_ns]
            thousandths = math.prod(round(one.factor * 1000) for one in under_way)
            self._slowness.append(plain(Fraction(thousandths, 1000 ** len(under_way))))

    def slowness(self, now_ns: int) -> Rate:
        """How many times as long everything takes at this moment."""
        return self._slowness[bisect_right(self.moments_ns, now_ns)]

    def next_change_ns(self, now_ns: int) -> int | None:
        """The first moment after this one at which the slowness may change."""
        index = bisect_right(self.moments_ns, now_ns)
        return self.moments_ns[index] if index < len(self.moments_ns) else None

    def end_ns(self, begin_ns: int, work_ns: int) -> int:
        """When work that takes so long at full speed is done, rounded up to a nanosecond."""
        if not self.moments_ns:
            return begin_ns + work_ns
        left: Rate = work_ns
        index = bisect_right(self.moments_ns, begin_ns)
        while index < len(self.moments_ns):
            change_ns = self.moments_ns[index]
            slowness = self._slowness[index]
            if begin_ns + left * slowness <= change_ns:
                break
            left -= done(change_ns - begin_ns, slowness)
            begin_ns = change_ns
            index += 1
        return begin_ns + math.ceil(left * self._slowness[index])


class Script:
    """All disturbances, by the part that they slow."""

    def __init__(self, disturbances: Iterable[Disturbance] = ()) -> None:
        self.disturbances = tuple(disturbances)
        self._of = {what: tuple(one for one in self.disturbances if one.what is what) for what in What}
        self._courses: dict[tuple[Part, int | None], Course] = {}

    def course(self, part: Part, core: int | None = None) -> Course:
        """The course of a part; of the host the one of a core."""
        if (part, core) not in self._courses:
            self._courses[part, core] = Course(
                one for one in self.disturbances if part in _PARTS[one.what] and one.core in (None, core)
            )
        return self._courses[part, core]

    def of(self, what: What) -> tuple[Disturbance, ...]:
        """All disturbances of one kind."""
        return self._of[what]

    def under_way(self, what: What, now_ns: int) -> list[Disturbance]:
        """The disturbances of one kind at this moment."""
        return [one for one in self._of[what] if one.from_ns <= now_ns < one.to_ns]


LONG_NS = 200_000 * _MS
"""Longer than measurements of small networks take."""


class Range(NamedTuple):
    """Numbers are drawn evenly in their logarithm between these, so that short and small ones are the most."""

    least: float
    most: float

    def draw(self, generator: random.Random) -> float:
        return math.exp(generator.uniform(math.log(self.least), math.log(self.most)))

    @property
    def mean(self) -> float:
        return (self.most - self.least) / math.log(self.most / self.least)


BURSTS_MS = Range(2, 180)
"""How long a link was seen slow at a time."""
EXCESS = Range(0.03, 1.5)
"""By which share of its time a copy was seen slower."""


def bursts(
    what: What,
    seed: int,
    share: float,
    until_ns: int = LONG_NS,
    lasts_ms: Range = BURSTS_MS,
    excess: Range = EXCESS,
    core: int | None = None,
) -> list[Disturbance]:
    """Bursts at random, which together take about this share of the time until `until_ns`; the same for a seed. What
    they are by default is what was measured of a link on a shared host."""
    generator = random.Random(seed)
    gaps_ms = lasts_ms.mean * (1 - share) / share
    found = []
    now_ns = 0
    while now_ns < until_ns:
        begin_ns = now_ns + round(generator.expovariate(1 / gaps_ms) * _MS)
        now_ns = begin_ns + round(lasts_ms.draw(generator) * _MS)
        found.append(Disturbance(what, begin_ns, now_ns, 1 + excess.draw(generator), core))
    return found


SPELLS_MS = Range(1000, 8000)
"""How long a core was seen at half its speed."""


def half_speed_spells(
    seed: int, share: float, cores: int = 8, until_ns: int = LONG_NS, lasts_ms: Range = SPELLS_MS
) -> list[Disturbance]:
    """A host whose cores, each for itself, run at about half their speed for a time, this share of the time."""
    half = Range(0.76, 0.78)
    return [
        one for core in range(cores) for one in bursts(What.HOST, seed + core, share, until_ns, lasts_ms, half, core)
    ]
