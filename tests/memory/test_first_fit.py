"""First fit, with every address written out by hand."""

from __future__ import annotations

import pytest

from vdnnsim.memory import BestFitPool, FirstFitPool, PoolExhausted


def test_the_lowest_hole_that_fits_is_taken() -> None:
    pool = FirstFitPool(8192)
    large, _, medium, _ = (pool.allocate(size) for size in (2048, 512, 1024, 512))
    pool.free(large)
    pool.free(medium)
    assert pool.holes() == [(0, 2048), (2560, 1024), (4096, 4096)]
    assert pool.allocate(512) == 0  # best fit would take 2560
    assert pool.allocate(1024) == 512
    assert pool.allocate(1024) == 2560
    assert pool.holes() == [(1536, 512), (4096, 4096)]


def test_holes_that_are_too_small_are_passed_over_within_a_size_class_and_across() -> None:
    pool = FirstFitPool(65536)
    # Holes of 2048, 2560, 3584 (one class: 2048 to 4095) and 4608 B, each followed by a live block of 512 B.
    holes = []
    for size in (2048, 2560, 3584, 4608):
        holes.append(pool.allocate(size))
        pool.allocate(512)
    assert holes == [0, 2560, 5632, 9728]
    for address in holes:
        pool.free(address)
    assert pool.allocate(3000) == 5632
    assert pool.allocate(3000) == 9728
    assert pool.allocate(2500) == 2560
    assert pool.allocate(2500) == 14848  # behind all: 9728 + 4608 + 512
    assert pool.allocate(2000) == 0


def test_a_hole_of_its_own_class_behind_one_of_a_larger_class_is_not_taken() -> None:
    pool = FirstFitPool(65536)
    large, _, exact, _ = (pool.allocate(size) for size in (9216, 512, 1024, 512))
    pool.free(large)
    pool.free(exact)
    assert pool.allocate(1024) == 0


def test_freed_blocks_merge_with_both_neighbours() -> None:
    pool = FirstFitPool(8192)
    a, b, c, _ = (pool.allocate(1024) for _ in range(4))
    for address in (a, c, b):
        pool.free(address)
    assert pool.holes() == [(0, 3072), (4096, 4096)]


def test_the_two_rules_can_disagree_on_whether_a_request_fits() -> None:
    """A small request in the large hole costs first fit the room that best fit keeps."""
    outcome = {}
    for pool in (BestFitPool(4096), FirstFitPool(4096)):
        large, _, small, _ = (pool.allocate(size) for size in (2048, 512, 1024, 512))
        pool.free(large)
        pool.free(small)
        pool.allocate(1024)
        try:
            outcome[pool.name] = pool.allocate(2048)
        except PoolExhausted as error:
            outcome[pool.name] = error.largest_hole_bytes
    assert outcome == {"best-fit": 0, "first-fit": 1024}


def test_exhausted() -> None:
    pool = FirstFitPool(1024)
    pool.allocate(512)
    with pytest.raises(PoolExhausted) as caught:
        pool.allocate(513)
    assert caught.value.args == (513, 1024, 512, 512)
