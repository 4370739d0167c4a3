"""Repeated measurements as one number with its spread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import NamedTuple

STEADY_PPM = 10_000
"""A measurement whose middle half spreads over more than this share of its median is repeated, then called unsteady."""


class Sample(NamedTuple):
    """The median of some repetitions; `spread_ppm` is the range of the middle half over the median, in millionths."""

    median_ns: int
    spread_ppm: int
    repetitions: int

    @property
    def steady(self) -> bool:
        return self.spread_ppm <= STEADY_PPM


def sample(values_ns: Iterable[int]) -> Sample:
    """The median and spread of one measurement or more."""
    values = sorted(values_ns)
    middle = round(median(values))
    quarter = len(values) // 4
    width = values[-1 - quarter] - values[quarter]
    return Sample(middle, round(width * 1e6 / middle) if middle else 0, len(values))


def steady_sample(measure: Callable[[], int], repetitions: int, attempts: int = 2) -> Sample:
    """Repeat a measurement; where it spreads too widely, once more from the start, and the steadier one counts."""
    best: Sample | None = None
    for _ in range(attempts):
        found = sample([measure() for _ in range(repetitions)])
        if best is None or found.spread_ppm < best.spread_ppm:
            best = found
        if found.steady:
            break
    assert best is not None
    return best


def repetitions_within(budget_ns: int, one_ns: int, fewest: int, most: int) -> int:
    """How often something that takes `one_ns` is repeated in about `budget_ns`."""
    return max(fewest, min(most, budget_ns // max(1, one_ns)))
