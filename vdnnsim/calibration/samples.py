"""Repeated measurements as one number with its spread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import NamedTuple

from vdnnsim.calibration.watch import Seen, T

STEADY_PPM = 10_000
"""A measurement whose middle half spreads over more than this share of its median is repeated, then called unsteady."""
_WIDEST_PPM = 10**9
MANY = 6
"""Among so many readings one is let pass that no other reached."""
_ENOUGH = 3
"""So many quiet repetitions stand for all of them, or half of them where there are fewer."""


class Sample(NamedTuple):
    """The median of some repetitions; `spread_ppm` is the range of the middle half over the median, in millionths;
    `disturbed_by` names what most of them were disturbed by, where it was so."""

    median_ns: int
    spread_ppm: int
    repetitions: int
    disturbed_by: tuple[str, ...] = ()

    @property
    def quiet(self) -> bool:
        return not self.disturbed_by

    @property
    def steady(self) -> bool:
        return self.quiet and self.spread_ppm <= STEADY_PPM

    @property
    def spread_ns(self) -> int:
        """The range of the middle half."""
        return round(self.median_ns * self.spread_ppm / 1e6)


def sample(values_ns: Iterable[int]) -> Sample:
    """The median and spread of one measurement or more."""
    values = sorted(values_ns)
    middle = round(median(values))
    quarter = len(values) // 4
    width = values[-1 - quarter] - values[quarter]
    return Sample(middle, min(_WIDEST_PPM, round(width * 1e6 / middle)) if middle else 0, len(values))


def undisturbed(values_ns: Sequence[int], slow: float) -> list[int]:
    """Of readings of one piece of work those that take no more than `slow` times the shortest: disturbances only
    lengthen. Of many readings the second shortest is the measure, since one alone may be a slip of a clock."""
    floor_ns = sorted(values_ns)[1 if len(values_ns) >= MANY else 0]
    return [value for value in values_ns if value <= slow * floor_ns]


def quiet_ones(outcomes: Sequence[Seen[T]]) -> Seen[list[T]]:
    """What nothing disturbed of repeated measurements; all of them, named as disturbed, where too few were quiet."""
    quiet = [one.value for one in outcomes if one.quiet]
    if len(quiet) >= min(_ENOUGH, (len(outcomes) + 1) // 2):
        return Seen(quiet)
    names = sorted({name for one in outcomes for name in one.disturbed_by})
    return Seen([one.value for one in outcomes], tuple(names))


def quiet_sample(outcomes: Sequence[Seen[int]]) -> Sample:
    """As `quiet_ones`, as one number."""
    values, disturbed_by = quiet_ones(outcomes)
    return sample(values)._replace(disturbed_by=disturbed_by)


def repetitions_within(budget_ns: int, one_ns: int, fewest: int, most: int) -> int:
    """How often something that takes `one_ns` is repeated in about `budget_ns`."""
    return max(fewest, min(most, budget_ns // max(1, one_ns)))
