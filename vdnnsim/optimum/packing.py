"""Where blocks lie: rectangles of time and addresses, put one after the other into the lowest or the tightest place.

Which come first decides whether all find one. It begins with the largest, and whatever finds no place comes sooner the
next time ("squeaky wheel" optimisation: Joslin and Clements, JAIR 10, 1999).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from random import Random

from vdnnsim.optimum.rehearsal import Life

_BLOCK_BYTES = 512
_BEFORE_ANOTHER = 0.3
_SHARES = (0.0, 0.3, 0.5, 0.5, 0.8)
_ANOTHER = 0.15


def most_bytes(lives: Sequence[Life]) -> int:
    """The most that is there at once: with less there is no place for all."""
    changes = sorted(change for life in lives for change in ((life.taken, _whole(life)), (life.back, -_whole(life))))
    most = now = 0
    for _, size_bytes in changes:
        now += size_bytes
        most = max(most, now)
    return most


def pack(lives: Sequence[Life], capacity_bytes: int, effort: int) -> tuple[int, ...] | None:
    """An address for each life, so that no two overlap that are there at once; None where none was found. At most
    `effort` lives are put somewhere."""
    sizes = [_whole(life) for life in lives]
    if most_bytes(lives) > capacity_bytes:
        return None
    beside = _beside(lives)
    random = Random(1)
    orders = [
        sorted(range(len(lives)), key=lambda number: -sizes[number]),
        sorted(range(len(lives)), key=lambda number: -sizes[number] * (lives[number].back - lives[number].taken)),
        sorted(range(len(lives)), key=lambda number: lives[number].taken - lives[number].back),
        sorted(range(len(lives)), key=lambda number: lives[number].taken),
    ]
    starts = [(list(order), tight) for order in orders for tight in (False, True)]
    for order, tight in cycle(starts):
        addresses, without = _place(order, sizes, beside, capacity_bytes, tight)
        if without is None:
            return tuple(addresses)
        place = order.index(without)
        effort -= place + 1
        if effort <= 0:
            return None
        _sooner(order, place, beside[without], random)
    return None


def _sooner(order: list[int], place: int, beside: Sequence[int], random: Random) -> None:
    """What found no place comes sooner: by some share, or before one of those that were in its way; now and then
    another changes its turn too."""
    if random.random() < _BEFORE_ANOTHER:
        others = set(beside)
        sooner = random.choice([turn for turn in range(place) if order[turn] in others] or [0])
    else:
        sooner = int(place * random.choice(_SHARES))
    order.insert(sooner, order.pop(place))
    if random.random() < _ANOTHER:
        order.insert(random.randrange(len(order)), order.pop(random.randrange(len(order))))


def _whole(life: Life) -> int:
    return -(-life.size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES


def _beside(lives: Sequence[Life]) -> list[list[int]]:
    """Those that are there at the same time as each."""
    beside: list[list[int]] = [[] for _ in lives]
    there: list[int] = []
    for number in sorted(range(len(lives)), key=lambda number: lives[number].taken):
        there = [other for other in there if lives[other].back > lives[number].taken]
        for other in there:
            beside[number].append(other)
            beside[other].append(number)
        there.append(number)
    return beside


def _place(
    order: Sequence[int], sizes: Sequence[int], beside: Sequence[Sequence[int]], capacity_bytes: int, tight: bool
) -> tuple[list[int], int | None]:
    """The addresses of those that found a place, and the first that found none, if so."""
    addresses = [-1] * len(sizes)
    for number in order:
        size = sizes[number]
        taken = sorted((addresses[other], sizes[other]) for other in beside[number] if addresses[other] >= 0)
        taken.append((capacity_bytes // _BLOCK_BYTES * _BLOCK_BYTES, 0))
        free = best = 0
        found = -1
        for begin, length in taken:
            room = begin - free
            if room >= size and (found < 0 or room < best):
                found, best = free, room
                if not tight:
                    break
            free = max(free, begin + length)
        if found < 0:
            return addresses, number
        addresses[number] = found
    return addresses, None
