"""The points of a sweep in their one order, as whole-number codes: never all of them at once.

A raw point is one combination of the product of all groups of axes; a filter may drop it. Raw points are numbered from
0, and cut into chunks of equal raw length, so that a chunk can be worked out anywhere from its number alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from vdnnsim.errors import InvalidInput, InvalidValue
from vdnnsim.sweep.axes import AXES, OWN, SCALES, STUDY_AXES, Value
from vdnnsim.sweep.filters import Filter
from vdnnsim.sweep.spec import Spec
from vdnnsim.units import PPM

MOST_POINTS = 1_000_000_000
_COUNTED_AT_ONCE = 1 << 20
POINT = "point"
"""The key of the raw points' own numbers among their codes."""
Codes = Mapping[str, np.ndarray]


class Size(NamedTuple):
    """How many points a sweep has, of how many raw ones, and the distinct (network, batch, GPU, math) among them as
    codes of those axes."""

    points: int
    raw_points: int
    studies: tuple[tuple[int, ...], ...]


class Grid:
    """Raises `InvalidFile` for filters that cannot be understood, `InvalidInput` above a billion raw points."""

    def __init__(self, spec: Spec) -> None:
        self.axes: Mapping[str, tuple[Value, ...]] = dict(spec.axes)
        self._groups = self._ordered_groups(spec)
        self._lengths = [len(self.axes[group[0]]) for group in self._groups]
        self.raw_points = 1
        for length in self._lengths:
            self.raw_points *= length
        if self.raw_points > MOST_POINTS:
            raise InvalidInput(
                f"{spec.file}: found {self.raw_points} points in the product of all axes, "
                f"expected at most {MOST_POINTS}; use fewer values, or zip axes that vary together"
            )
        self._filters = [_make_filter(spec, index) for index in range(len(spec.filters))]
        self._filtered_axes = sorted(_with_values(spec)) if self._filters else []

    @staticmethod
    def _ordered_groups(spec: Spec) -> list[tuple[str, ...]]:
        """Zipped groups and single axes, by the first of their axes in the order of `AXES`."""
        rank = {name: index for index, name in enumerate(AXES)}
        zipped = {name for group in spec.zipped for name in group}
        groups = [*spec.zipped, *((name,) for name in AXES if name not in zipped)]
        return sorted(groups, key=lambda group: min(rank[name] for name in group))

    def codes(self, first: int, last: int) -> Codes:
        """For each axis, which of its values each kept point among the raw points [first, last) has; with their numbers
        under `POINT`."""
        raw = np.arange(first, min(last, self.raw_points), dtype=np.int64)
        codes: dict[str, np.ndarray] = {POINT: raw}
        for group, length in zip(reversed(self._groups), reversed(self._lengths), strict=True):
            raw, own = np.divmod(raw, length)
            codes.update(dict.fromkeys(group, own))
        if not self._filters:
            return codes
        columns = {name: self._filter_values(name)[codes[name]] for name in self._filtered_axes}
        kept = np.logical_and.reduce([condition.keeps(columns) for condition in self._filters])
        return {name: own[kept] for name, own in codes.items()}

    def _filter_values(self, name: str) -> np.ndarray:
        values = np.array(self.axes[name])
        return values / PPM if name in SCALES else values

    def size(self) -> Size:
        """Counts the points. Takes time and memory for filters only."""
        if not self._filters:
            studies = self._all_studies()
            return Size(self.raw_points, self.raw_points, tuple(sorted(studies)))
        points = 0
        found: set[tuple[int, ...]] = set()
        for first in range(0, self.raw_points, _COUNTED_AT_ONCE):
            codes = self.codes(first, first + _COUNTED_AT_ONCE)
            points += len(codes["network"])
            found |= set(_distinct(codes))
        return Size(points, self.raw_points, tuple(sorted(found)))

    def _all_studies(self) -> set[tuple[int, ...]]:
        """Without filters every combination of the groups that hold study axes occurs."""
        found: set[tuple[int, ...]] = {()}
        names: list[str] = []
        for group, length in zip(self._groups, self._lengths, strict=True):
            own = [name for name in group if name in STUDY_AXES]
            if own:
                names += own
                found = {(*before, *([code] * len(own))) for before in found for code in range(length)}
        order = [names.index(name) for name in STUDY_AXES]
        return {tuple(combination[index] for index in order) for combination in found}

    def chunks(self, chunk_points: int) -> Iterator[tuple[int, int]]:
        """The raw points [first, last) of each chunk."""
        for first in range(0, self.raw_points, chunk_points):
            yield first, min(first + chunk_points, self.raw_points)


def _with_values(spec: Spec) -> frozenset[str]:
    """The axes that filters may speak of: all but those that are left to the GPU."""
    return frozenset(name for name, values in spec.axes.items() if OWN not in values)


def _make_filter(spec: Spec, index: int) -> Filter:
    what = f"filters[{index}]"
    try:
        return Filter(spec.filters[index], _with_values(spec), what)
    except InvalidValue as error:
        found = error.found if error.what == what else f"{error.what}: found {error.found}"  # of an axis named beside
        raise spec.fault(("filters", index), found, error.expected) from None


def _distinct(codes: Codes) -> list[tuple[int, ...]]:
    table = np.stack([codes[name] for name in STUDY_AXES])
    return [tuple(int(code) for code in column) for column in np.unique(table, axis=1).T]
