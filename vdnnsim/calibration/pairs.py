"""Copies alone and beside something else, by turns, so that nothing that was taken once stands for the rest of an hour.

A chain of reference copies is measured alone, then beside, then alone again, several times, each copy for itself. A
turn counts where the copies alone next to it ran at the link's full speed. Disturbances only lengthen: of the readings
of one copy of the chain those near the shortest count, and a copy that was disturbed in one turn is whole in another.
Both sides are judged alike, so that what this choice leaves out cancels in the ratio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import median
from typing import NamedTuple

from vdnnsim.calibration.samples import undisturbed
from vdnnsim.calibration.watch import LINK, Watch
from vdnnsim.program import Stream
from vdnnsim.units import PPM

FORBIDDEN = "a copy faster beside the kernel than alone"
"""No kernel speeds a copy up: a ratio below 1 by more than `FORBIDDEN_PPM` and its spread was disturbed."""
FORBIDDEN_PPM = 30_000
_MORE = 4
"""Up to so many times the turns that are wanted are taken until enough readings agree."""
_MOST_LONELY = 0.5
"""A chain is disturbed in which more of its copies than this share have one reading alone near the shortest."""

Chain = Callable[[], Sequence[int]]
"""Runs a chain of copies and returns the nanoseconds of each."""


class Slowdown(NamedTuple):
    """By how much copies are slowed (parts per million; PPM is not at all), the spread of that, and what disturbed it,
    where something did."""

    ppm: int = PPM
    spread_ppm: int = 0
    disturbed: str = ""


class _Side(NamedTuple):
    """A chain's time from the readings that count, its spread, and the share of its copies without a second witness."""

    total_ns: float
    spread_ns: float
    lonely: float


def measure_pairs(watch: Watch, stream: Stream, alone: Chain, beside: Chain, turns: int = 3) -> Slowdown:
    """The ratio of `beside` to `alone`, both of reference copies on this stream. One that physics forbids is measured
    once more; if it stays, it is told as 1, with its reason."""
    found = _ratio(watch, stream, alone, beside, turns)
    if forbidden(found):
        found = _ratio(watch, stream, alone, beside, turns)
        if forbidden(found):
            return Slowdown(PPM, found.spread_ppm, FORBIDDEN)
    return found


def forbidden(found: Slowdown) -> bool:
    """Whether physics does not allow it: something beside a copy that speeds it up."""
    return found.ppm < PPM - max(FORBIDDEN_PPM, found.spread_ppm)


def _ratio(watch: Watch, stream: Stream, alone: Chain, beside: Chain, turns: int) -> Slowdown:
    """Turns count between two chains alone whose nearest copies were at full speed."""
    link = watch.link
    alones: list[Sequence[int]] = []
    besides: list[Sequence[int]] = []
    every: list[Sequence[int]] = []
    before = alone()
    for _ in range(_MORE * turns):
        if not link.is_fast(stream, before[-1]):
            link.settle()
            before = alone()
        every.append(beside())
        after = alone()
        if link.is_fast(stream, before[-1]) and link.is_fast(stream, after[0]):
            besides.append(every[-1])
            alones += [before, after]
        before = after
        if len(besides) >= turns and max(_lonely(side, watch) for side in (alones, besides)) <= _MOST_LONELY:
            break
    enough = len(besides) >= turns and max(_lonely(side, watch) for side in (alones, besides)) <= _MOST_LONELY
    watch.note(() if enough else (LINK,))
    slow = watch.device.slow_link
    ours, theirs = _side(alones or [before], slow), _side(besides or every, slow)
    ratio = theirs.total_ns / ours.total_ns
    spread = ratio * sqrt(sum((side.spread_ns / side.total_ns) ** 2 for side in (ours, theirs)))
    return Slowdown(round(PPM * ratio), round(PPM * spread), "" if enough else LINK)


def _lonely(turns: Sequence[Sequence[int]], watch: Watch) -> float:
    return _side(turns, watch.device.slow_link).lonely


def _side(turns: Sequence[Sequence[int]], slow: float) -> _Side:
    kept = [undisturbed(readings, slow) for readings in zip(*turns, strict=True)]
    halves = [(max(readings) - min(readings)) / 2 for readings in kept]
    lonely = sum(len(readings) == 1 for readings in kept) / len(kept)
    return _Side(sum(median(readings) for readings in kept), sqrt(sum(half**2 for half in halves)), lonely)
