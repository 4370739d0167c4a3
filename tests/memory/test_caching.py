"""PyTorch's caching allocator, rule by rule, with every address written out by hand."""

from __future__ import annotations

import pytest

from vdnnsim.memory import ENDLESS_BYTES, CachingPool, PoolExhausted, Segment
from vdnnsim.memory.caching import segment_bytes

KIB = 2**10
MIB = 2**20


@pytest.mark.parametrize(
    ("request_bytes", "segment"),
    [
        (512, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 512, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 512, 12 * MIB),
        (21 * MIB, 22 * MIB),
    ],
)
def test_segments_by_request(request_bytes: int, segment: int) -> None:
    assert segment_bytes(request_bytes) == segment
    pool = CachingPool(ENDLESS_BYTES)
    pool.allocate(request_bytes)
    assert pool.segments() == [Segment(0, segment, small=request_bytes <= MIB)]
    assert pool.reserved_bytes == segment


def test_the_rounded_request_decides_on_the_pool() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    pool.allocate(MIB - 100)
    assert pool.live_blocks() == [(0, MIB)]
    pool.allocate(MIB + 1)
    assert pool.segments() == [(0, 2 * MIB, True), (2 * MIB, 20 * MIB, False)]


def test_small_requests_share_a_segment_and_split_down_to_512_bytes() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    assert [pool.allocate(size) for size in (1, 513, MIB)] == [0, 512, 1536]
    assert pool.holes() == [(MIB + 1536, MIB - 1536)]
    assert pool.allocate(MIB - 2048) == MIB + 1536
    assert pool.holes() == [(2 * MIB - 512, 512)]
    assert (pool.in_use_bytes, pool.reserved_bytes) == (2 * MIB - 512, 2 * MIB)
    assert pool.allocate(513) == 2 * MIB  # a second segment


def test_a_large_block_is_split_only_if_more_than_1_mib_is_left() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    block = pool.allocate(12 * MIB)
    pool.free(block)
    assert pool.allocate(11 * MIB) == 0
    assert pool.live_blocks() == [(0, 12 * MIB)]  # 1 MiB left: handed out whole
    assert pool.in_use_bytes == 12 * MIB
    pool.free(0)
    assert pool.allocate(11 * MIB - 512) == 0
    assert pool.live_blocks() == [(0, 11 * MIB - 512)]
    assert pool.holes() == [(11 * MIB - 512, MIB + 512)]


def test_medium_requests_are_cut_from_20_mib() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    assert [pool.allocate(6 * MIB) for _ in range(4)] == [0, 6 * MIB, 12 * MIB, 20 * MIB]
    assert pool.holes() == [(18 * MIB, 2 * MIB), (26 * MIB, 14 * MIB)]
    assert pool.allocate(2 * MIB) == 18 * MIB  # best fit, exactly
    assert pool.reserved_bytes == 40 * MIB


def test_small_requests_do_not_use_large_segments_nor_the_other_way_round() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    large, small = pool.allocate(2 * MIB), pool.allocate(512)
    pool.free(large)
    pool.free(small)
    assert pool.holes() == [(0, 20 * MIB), (20 * MIB, 2 * MIB)]
    assert pool.allocate(1 * MIB) == 20 * MIB
    assert pool.allocate(1 * MIB + 512) == 0


def test_best_fit_among_cached_blocks_ties_to_the_lowest_address() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    sizes = (16 * MIB, 12 * MIB, 14 * MIB, 12 * MIB)
    addresses = [pool.allocate(size) for size in sizes]
    assert addresses == [0, 16 * MIB, 28 * MIB, 42 * MIB]
    for address in reversed(addresses):
        pool.free(address)
    assert [pool.allocate(12 * MIB) for _ in range(3)] == [16 * MIB, 42 * MIB, 28 * MIB]


def test_freed_blocks_merge_within_their_segment_but_not_across() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    a, b, c = (pool.allocate(10 * MIB) for _ in range(3))
    for address in (a, c, b):
        pool.free(address)
    assert pool.holes() == [(0, 10 * MIB), (10 * MIB, 10 * MIB), (20 * MIB, 10 * MIB)]
    assert pool.allocate(11 * MIB) == 30 * MIB
    small = [pool.allocate(512 * KIB) for _ in range(4)]
    assert small == [42 * MIB + i * 512 * KIB for i in range(4)]
    for address in (small[0], small[2], small[1]):
        pool.free(address)
    assert pool.holes()[-1] == (42 * MIB, 1536 * KIB)
    pool.free(small[3])
    assert pool.holes()[-1] == (42 * MIB, 2 * MIB)


def test_freed_memory_stays_reserved() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    pool.free(pool.allocate(30 * MIB))
    assert (pool.in_use_bytes, pool.reserved_bytes, pool.high_water_bytes) == (0, 30 * MIB, 30 * MIB)
    assert pool.free_bytes == ENDLESS_BYTES
    pool.allocate(20 * MIB)
    assert pool.reserved_bytes == 30 * MIB


def test_a_full_device_gets_all_unused_segments_back_before_a_request_fails() -> None:
    pool = CachingPool(60 * MIB)
    a, b, c, small = (pool.allocate(size) for size in (20 * MIB, 10 * MIB, 20 * MIB, 1))
    for address in (a, c, small):
        pool.free(address)
    assert pool.reserved_bytes == 52 * MIB
    # 30 MiB fit in no cached block, nor in the 8 MiB left: all three unused segments go back, also the small one.
    address = pool.allocate(30 * MIB)
    assert address == 30 * MIB  # the lowest free addresses of 30 MiB in a row
    assert pool.segments() == [(20 * MIB, 10 * MIB, False), (30 * MIB, 30 * MIB, False)]
    assert pool.high_water_bytes == 52 * MIB
    pool.free(b)


def test_memory_of_another_stream_is_kept_apart_until_the_device_is_full() -> None:
    """Neither finds room in what the other has freed, large or small; a freed block goes back where it came from; and a
    segment that the device has no room for is made room for by those of both."""
    pool = CachingPool(64 * MIB)
    own, apart = pool.allocate(20 * MIB), pool.allocate_apart(20 * MIB)
    pool.free(own)
    pool.free(apart)
    assert (pool.allocate_apart(16 * MIB), pool.allocate(16 * MIB)) == (apart, own)
    assert (pool.allocate_apart(3 * MIB), pool.allocate(2 * MIB)) == (apart + 16 * MIB, own + 16 * MIB)
    small, small_apart = pool.allocate(512), pool.allocate_apart(512)
    assert abs(small - small_apart) == 2 * MIB
    assert pool.allocate_apart(0) == pool.allocate(0)
    assert (pool.reserved_bytes, pool.retries) == (44 * MIB, 0)
    for address, _ in pool.live_blocks():
        pool.free(address)
    assert len(pool.holes()) == 4
    assert (pool.allocate_apart(60 * MIB), pool.retries, pool.reserved_bytes) == (0, 1, 60 * MIB)


def test_segments_are_limited_by_their_sum_not_by_their_places() -> None:
    """The device maps pages: room in two places serves one segment."""
    pool = CachingPool(40 * MIB)
    a, _, c = (pool.allocate(size) for size in (10 * MIB, 20 * MIB, 10 * MIB))
    pool.free(a)
    pool.free(c)
    assert pool.allocate(20 * MIB) == 30 * MIB
    assert (pool.reserved_bytes, pool.span_bytes) == (40 * MIB, 50 * MIB)


def test_segments_with_a_live_block_stay_and_can_exhaust_the_device() -> None:
    pool = CachingPool(40 * MIB)
    a, b = pool.allocate(6 * MIB), pool.allocate(6 * MIB)
    small = pool.allocate(100)
    pool.free(a)
    pool.free(small)
    with pytest.raises(PoolExhausted) as caught:
        pool.allocate(30 * MIB)
    # in use: 6 MiB; the largest that would succeed: a new segment of the 20 MiB left on the device
    assert caught.value.args == (30 * MIB, 40 * MIB, 6 * MIB, 20 * MIB)
    assert caught.value.fragmented
    assert pool.segments() == [(0, 20 * MIB, False)]  # the unused small segment went back
    pool.free(b)
    assert pool.allocate(30 * MIB) == 0


def test_empty_cache_gives_back_whole_unused_segments_only() -> None:
    pool = CachingPool(ENDLESS_BYTES)
    a, b, c = pool.allocate(12 * MIB), pool.allocate(2 * MIB), pool.allocate(2 * MIB)
    pool.free(a)
    pool.free(b)
    assert pool.empty_cache() == 12 * MIB
    assert pool.empty_cache() == 0
    assert pool.segments() == [(12 * MIB, 20 * MIB, False)]
    assert pool.holes() == [(12 * MIB, 2 * MIB), (16 * MIB, 16 * MIB)]
    pool.free(c)
    assert pool.empty_cache() == 20 * MIB
    assert (pool.segments(), pool.holes(), pool.reserved_bytes) == ([], [], 0)


@pytest.mark.parametrize(
    ("capacity_bytes", "largest"),
    [
        (2 * MIB - 1, 0),
        (2 * MIB, MIB),
        (10 * MIB - 1, MIB),  # more than 1 MiB wants 20 MiB, or is itself 10 MiB
        (10 * MIB, 10 * MIB),
        (13 * MIB, 12 * MIB),
        (21 * MIB, 20 * MIB),
    ],
)
def test_largest_hole_of_an_empty_device(capacity_bytes: int, largest: int) -> None:
    pool = CachingPool(capacity_bytes)
    assert pool.largest_hole_bytes == largest
    pool.allocate(largest)
    with pytest.raises(PoolExhausted):
        CachingPool(capacity_bytes).allocate(largest + 1)


def test_a_small_segment_serves_no_request_above_1_mib() -> None:
    pool = CachingPool(2 * MIB)
    pool.allocate(512)
    assert pool.holes() == [(512, 2 * MIB - 512)]
    assert pool.largest_hole_bytes == MIB
    with pytest.raises(PoolExhausted):
        pool.allocate(MIB + 1)
    assert pool.allocate(MIB) == 512
    assert pool.largest_hole_bytes == MIB - 512
