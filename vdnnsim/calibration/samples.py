"""Repeated measurements as one number with its spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

from vdnnsim.machines.real.host import Host

STEADY_PPM = 10_000
"""A measurement whose middle half spreads over more than this share of its median is repeated, then called unsteady."""


class Sample(NamedTuple):
    """The median of some repetitions; `spread_ppm` is the range of the middle half over the median, in millionths;
    `quiet` says that the host ran at full speed in all of them."""

    median_ns: int
    spread_ppm: int
    repetitions: int
    quiet: bool = True

    @property
    def steady(self) -> bool:
        return self.quiet and self.spread_ppm <= STEADY_PPM


def sample(values_ns: Iterable[int]) -> Sample:
    """The median and spread of one measurement or more."""
    values = sorted(values_ns)
    middle = round(median(values))
    quarter = len(values) // 4
    width = values[-1 - quarter] - values[quarter]
    return Sample(middle, round(width * 1e6 / middle) if middle else 0, len(values))


def steady_sample(host: Host, measure: Callable[[], int], repetitions: int, attempts: int = 2) -> Sample:
    """Repeat a measurement on a host at full speed. Where it spreads too widely, or the host mostly was slower, once
    more from the start, and the steadier one counts."""
    found = []
    for _ in range(attempts):
        outcomes = [host.undisturbed(measure) for _ in range(repetitions)]
        quiet = [value for value, was_quiet in outcomes if was_quiet]
        enough = 2 * len(quiet) >= repetitions
        found.append(sample(quiet if enough else [value for value, _ in outcomes])._replace(quiet=enough))
        if found[-1].steady:
            break
    return min(found, key=lambda one: (not one.quiet, one.spread_ppm))


def repetitions_within(budget_ns: int, one_ns: int, fewest: int, most: int) -> int:
    """How often something that takes `one_ns` is repeated in about `budget_ns`."""
    return max(fewest, min(most, budget_ns // max(1, one_ns)))
