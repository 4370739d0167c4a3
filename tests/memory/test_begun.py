"""PyTorch's allocator as another process left it: segments and live blocks at given addresses, by hand."""

from __future__ import annotations

import pytest
from hypothesis import given

from support.pools import Step, play, quick, steps
from vdnnsim.errors import InvalidInput
from vdnnsim.memory import ENDLESS_BYTES, CachingPool, HeldBlock, PoolExhausted, Segment

MIB = 2**20
BASE = 0x7F3A_0000_0000
SMALL = Segment(BASE, 2 * MIB, small=True)
LARGE = Segment(BASE + 64 * MIB, 20 * MIB, small=False)
BLOCKS = [
    HeldBlock(BASE + 512, 100),
    HeldBlock(BASE + 1024, MIB),
    HeldBlock(LARGE.address, 4 * MIB),
    HeldBlock(LARGE.address + 10 * MIB, 3 * MIB),
]


def begun(capacity_bytes: int = ENDLESS_BYTES) -> CachingPool:
    return CachingPool.begun(capacity_bytes, [LARGE, SMALL], BLOCKS)


def test_it_holds_what_it_was_given() -> None:
    pool = begun()
    assert pool.segments() == [SMALL, LARGE]
    assert pool.live_blocks() == [
        (BASE + 512, 512),
        (BASE + 1024, MIB),
        (LARGE.address, 4 * MIB),
        (LARGE.address + 10 * MIB, 3 * MIB),
    ]
    assert pool.holes() == [
        (BASE, 512),
        (BASE + 1024 + MIB, MIB - 1024),
        (LARGE.address + 4 * MIB, 6 * MIB),
        (LARGE.address + 13 * MIB, 7 * MIB),
    ]
    assert (pool.in_use_bytes, pool.reserved_bytes, pool.high_water_bytes) == (8 * MIB + 512, 22 * MIB, 22 * MIB)


def test_requests_take_its_holes_and_then_segments_below_it() -> None:
    pool = begun()
    assert pool.allocate(512) == BASE
    assert pool.allocate(5 * MIB) == LARGE.address + 4 * MIB, "1 MiB is left: handed out whole"
    assert pool.in_use_bytes == 8 * MIB + 1024 + 6 * MIB
    assert pool.allocate(8 * MIB) == BASE - 20 * MIB
    assert pool.allocate(30 * MIB) == BASE - 50 * MIB


def test_what_is_given_back_merges_within_its_segment_and_goes_back_to_the_device_where_there_is_no_room() -> None:
    pool = begun(42 * MIB)
    for block in BLOCKS[2:]:
        pool.free(block.address)
    assert pool.holes()[-1] == (LARGE.address, 20 * MIB)
    assert pool.retries == 0
    assert pool.allocate(40 * MIB) == BASE - 40 * MIB, "22 + 40 MiB are too many; 2 + 40 are not"
    assert (pool.retries, pool.reserved_bytes, pool.segments()[-1]) == (1, 42 * MIB, SMALL)
    with pytest.raises(PoolExhausted):
        pool.allocate(2 * MIB)
    assert pool.retries == 2, "one that fails in the end was tried again as well"


def test_a_cap_below_what_is_held_binds_new_segments_alone() -> None:
    pool = begun(10 * MIB)
    assert pool.allocate(6 * MIB) == LARGE.address + 4 * MIB
    with pytest.raises(PoolExhausted):
        pool.allocate(8 * MIB)


@pytest.mark.parametrize("held_bytes", [9 * MIB, 9 * MIB + 512, 10 * MIB])
def test_a_rest_too_small_to_be_cut_off_belongs_to_the_block_before_it(held_bytes: int) -> None:
    """Whether the snapshot's size counts it or not."""
    blocks = [HeldBlock(LARGE.address, held_bytes), HeldBlock(LARGE.address + 10 * MIB, 10 * MIB)]
    pool = CachingPool.begun(ENDLESS_BYTES, [LARGE], blocks)
    assert pool.holes() == []
    assert pool.in_use_bytes == 20 * MIB


@pytest.mark.parametrize(
    ("segments", "blocks", "message"),
    [
        ([Segment(BASE, 4 * MIB, True)], [], "found 4194304 bytes for small requests, expected 2097152 for small ones"),
        ([Segment(BASE, 2 * MIB, False)], [], "found 2097152 bytes for large requests"),
        ([Segment(BASE, 20 * MIB + 512, False)], [], "expandable segments and other options of PyTorch's allocator"),
        ([LARGE, LARGE], [], rf"found the one before it up to {LARGE.address + LARGE.size_bytes}, expected them apart"),
        ([LARGE], [HeldBlock(BASE, 512)], f"block of 512 bytes at {BASE}: found it across"),
        ([LARGE], [HeldBlock(LARGE.address + 20 * MIB, 512)], "found no segment there, expected one around it"),
        ([LARGE], [HeldBlock(LARGE.address + 19 * MIB, 2 * MIB)], "block of 2097152 bytes at .* expected it within"),
        ([LARGE], [HeldBlock(LARGE.address, 513), HeldBlock(LARGE.address + 512, 1)], "across its neighbours"),
    ],
)
def test_what_is_no_state_of_this_allocator(segments: list[Segment], blocks: list[HeldBlock], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        CachingPool.begun(ENDLESS_BYTES, segments, blocks)


@given(before=steps(12 * MIB), after=steps(12 * MIB))
@quick
def test_a_pool_begun_as_another_one_is_goes_on_as_that_one(before: list[Step], after: list[Step]) -> None:
    """To the last address: a snapshot tells all that matters."""
    one = CachingPool(ENDLESS_BYTES)
    list(play(one, before))
    twin = CachingPool.begun(ENDLESS_BYTES, one.segments(), [HeldBlock(*block) for block in one.live_blocks()])
    assert list(play(one, after)) == list(play(twin, after))
    for pool in (one, twin):
        pool.empty_cache()
    assert (twin.live_blocks(), twin.holes(), twin.segments()) == (one.live_blocks(), one.holes(), one.segments())
    assert (twin.in_use_bytes, twin.reserved_bytes) == (one.in_use_bytes, one.reserved_bytes)
