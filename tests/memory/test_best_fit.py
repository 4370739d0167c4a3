"""Best fit, with every address written out by hand (capacity 8192 B is 16 units of 512 B)."""

from __future__ import annotations

import pytest

from vdnnsim.memory import BestFitPool, PoolExhausted


def test_requests_round_up_to_512_bytes_and_stack_from_0() -> None:
    pool = BestFitPool(8192)
    assert [pool.allocate(size) for size in (1, 511, 512, 513, 1024)] == [0, 512, 1024, 1536, 2560]
    assert pool.live_blocks() == [(0, 512), (512, 512), (1024, 512), (1536, 1024), (2560, 1024)]
    assert pool.holes() == [(3584, 4608)]
    assert (pool.in_use_bytes, pool.free_bytes, pool.largest_hole_bytes) == (3584, 4608, 4608)


def test_the_smallest_hole_that_fits_is_taken_at_its_low_end() -> None:
    pool = BestFitPool(8192)
    # 0: 2048, 2048: 512, 2560: 1024, 3584: 512, 4096: the rest
    large, _, medium, _ = (pool.allocate(size) for size in (2048, 512, 1024, 512))
    pool.free(large)
    pool.free(medium)
    assert pool.holes() == [(0, 2048), (2560, 1024), (4096, 4096)]
    assert pool.allocate(512) == 2560  # first fit would take 0
    assert pool.holes() == [(0, 2048), (3072, 512), (4096, 4096)]
    assert pool.allocate(512) == 3072  # exactly full: no rest
    assert pool.allocate(1536) == 0
    assert pool.holes() == [(1536, 512), (4096, 4096)]


def test_of_equal_holes_the_lowest_is_taken() -> None:
    pool = BestFitPool(8192)
    addresses = [pool.allocate(1024) for _ in range(8)]
    for address in (addresses[5], addresses[1], addresses[3]):
        pool.free(address)
    assert [pool.allocate(600) for _ in range(3)] == [1024, 3072, 5120]


def test_a_rest_stays_free_however_small() -> None:
    pool = BestFitPool(8192)
    hole, _ = pool.allocate(4096), pool.allocate(4096)
    pool.free(hole)
    assert pool.allocate(3584) == 0
    assert pool.holes() == [(3584, 512)]
    assert pool.allocate(1) == 3584


def test_a_freed_block_merges_with_both_neighbours() -> None:
    pool = BestFitPool(8192)
    a, b, c, d = (pool.allocate(1024) for _ in range(4))
    pool.free(a)
    pool.free(c)
    assert pool.holes() == [(0, 1024), (2048, 1024), (4096, 4096)]
    pool.free(b)
    assert pool.holes() == [(0, 3072), (4096, 4096)]
    pool.free(d)
    assert pool.holes() == [(0, 8192)]


def test_memory_in_pieces_does_not_serve_a_large_request() -> None:
    pool = BestFitPool(4096)
    addresses = [pool.allocate(512) for _ in range(8)]
    for address in addresses[::2]:
        pool.free(address)
    with pytest.raises(PoolExhausted) as caught:
        pool.allocate(600)
    assert caught.value.args == (600, 4096, 2048, 512)
    assert caught.value.fragmented


def test_high_water_is_the_highest_end_and_never_falls() -> None:
    pool = BestFitPool(8192)
    a, b = pool.allocate(1024), pool.allocate(2048)
    assert pool.high_water_bytes == 3072
    pool.free(b)
    pool.free(a)
    pool.allocate(512)
    assert (pool.high_water_bytes, pool.reserved_bytes, pool.span_bytes) == (3072, 3072, 3072)
    assert pool.in_use_bytes == 512


def test_bytes_beyond_the_last_multiple_of_512_are_free_but_of_no_use() -> None:
    pool = BestFitPool(1300)
    assert (pool.capacity_bytes, pool.holes(), pool.largest_hole_bytes) == (1300, [(0, 1300)], 1024)
    with pytest.raises(PoolExhausted):
        pool.allocate(1025)
    assert pool.allocate(1024) == 0
    assert (pool.holes(), pool.largest_hole_bytes, pool.free_bytes) == ([(1024, 276)], 0, 276)
    with pytest.raises(PoolExhausted):
        pool.allocate(1)
