"""Blocks side by side: no two overlap that are there at once, and what must fit does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vdnnsim.memory import BestFitPool, PoolExhausted
from vdnnsim.optimum.packing import most_bytes, pack
from vdnnsim.optimum.rehearsal import Life

KB = 1024
LIVES = (Life(1, 9, KB), Life(2, 5, KB), Life(3, 9, KB), Life(4, 6, KB), Life(7, 9, 2 * KB))
"""4 KiB are wanted at most. Best fit leaves two holes of 1 KiB, and the last finds no room."""


@st.composite
def lives(draw: st.DrawFn) -> list[Life]:
    found = []
    for _ in range(draw(st.integers(1, 9))):
        taken = draw(st.integers(0, 12))
        found.append(Life(taken, taken + draw(st.integers(1, 8)), draw(st.integers(0, 3000))))
    return found


def test_a_place_for_each_where_best_fit_finds_none() -> None:
    pool = BestFitPool(4 * KB)
    taken = [pool.allocate(KB) for _ in range(4)]
    pool.free(taken[1])
    pool.free(taken[3])
    with pytest.raises(PoolExhausted, match="free memory is in pieces"):
        pool.allocate(2 * KB)
    assert most_bytes(LIVES) == 4 * KB
    addresses = pack(LIVES, 4 * KB, 1000)
    assert addresses is not None
    _check(LIVES, addresses, 4 * KB)


def test_more_than_there_is() -> None:
    assert pack(LIVES, 4 * KB - 1, 1000) is None
    assert pack(LIVES, 4 * KB + 511, 1000) is not None


@settings(max_examples=60)
@given(lives(), st.integers(0, 1500))
def test_no_two_overlap_that_are_there_at_once(found: list[Life], spare: int) -> None:
    capacity_bytes = most_bytes(found) + spare
    addresses = pack(found, capacity_bytes, 400)
    if addresses is not None:
        _check(found, addresses, capacity_bytes)


def _check(lives: Sequence[Life], addresses: Sequence[int], capacity_bytes: int) -> None:
    placed = list(zip(lives, addresses, strict=True))
    assert all(address % 512 == 0 and address + life.size_bytes <= capacity_bytes for life, address in placed)
    for (one, at), (other, there) in combinations(placed, 2):
        if one.taken < other.back and other.taken < one.back:
            assert at + one.size_bytes <= there or there + other.size_bytes <= at
