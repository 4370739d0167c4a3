"""What a figure shows, as numbers: bars in groups, each with the band that the uncertainty of its traces gives it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vdnnsim import Provenance, weakest

LEFT, RIGHT, TABLE = "left", "right", "table"
"""The axis of a bar; a bar of the table is not drawn but counts for the claims."""


class Bar(NamedTuple):
    """One number: `group` along the axis, `series` within the group, `part` of a bar with several."""

    group: str
    series: str
    part: str
    axis: str
    value: float
    unit: str
    trains: bool = True


class Measured(NamedTuple):
    """All bars of one figure and case, under the trace as it is (`sample` 0) or a moved one."""

    figure: str
    case: str
    sample: int
    bars: tuple[Bar, ...]
    provenance: Provenance


class BandedBar(NamedTuple):
    """A bar with its lowest and highest value over `samples` moved traces and the trace as it is.

    `trains_in` is the share of all these in which the configuration trains.
    """

    case: str
    bar: Bar
    low: float
    high: float
    samples: int
    trains_in: float
    provenance: Provenance


class Stated(NamedTuple):
    """A number that the paper states of one bar, in the unit of the bar's axis; `mark` says how sure it is."""

    figure: str
    case: str
    group: str
    series: str
    axis: str
    value: float
    unit: str
    mark: str


COLUMNS = (
    "figure",
    "case",
    "group",
    "series",
    "part",
    "axis",
    "value",
    "unit",
    "low",
    "high",
    "samples",
    "trains",
    "trains_in",
    "provenance",
)


def with_bands(measured: Iterable[Measured]) -> tuple[BandedBar, ...]:
    """The bars of one figure under the trace as it is, in order, with their bands over the samples."""
    nominal: list[Measured] = []
    spreads: dict[tuple[str, tuple[str, ...]], list[Bar]] = {}
    for entry in measured:
        if entry.sample == 0:
            nominal.append(entry)
        for bar in entry.bars:
            spreads.setdefault((entry.case, _key(bar)), []).append(bar)
    banded = []
    for entry in nominal:
        for bar in entry.bars:
            found = spreads[entry.case, _key(bar)]
            values = [other.value for other in found]
            trains = sum(other.trains for other in found) / len(found)
            banded.append(
                BandedBar(entry.case, bar, min(values), max(values), len(found) - 1, trains, entry.provenance)
            )
    return tuple(banded)


def _key(bar: Bar) -> tuple[str, ...]:
    return (bar.group, bar.series, bar.part, bar.axis)


def weakest_of(bars: Sequence[BandedBar]) -> Provenance:
    return weakest(bar.provenance for bar in bars)


def bars_csv(figure: str, bars: Iterable[BandedBar]) -> str:
    """The bars as CSV: one row each, the same bytes for the same numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for banded in bars:
        bar = banded.bar
        writer.writerow(
            [
                figure,
                banded.case,
                bar.group,
                bar.series,
                bar.part,
                bar.axis,
                _number(bar.value),
                bar.unit,
                _number(banded.low),
                _number(banded.high),
                banded.samples,
                "yes" if bar.trains else "no",
                _number(banded.trains_in),
                banded.provenance.value,
            ]
        )
    return text.getvalue()


def _number(value: float) -> str:
    return f"{value:.6g}"
