"""What `Pool` promises, on every kind there is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.pools import Step, play, quick, steps
from vdnnsim.memory import ENDLESS_BYTES, POOLS, Pool, PoolExhausted, make_pool

MIB = 2**20
every = pytest.mark.parametrize("name", POOLS)
scripts = st.one_of(steps(12 * MIB), steps(3 * MIB))


@pytest.fixture(params=POOLS)
def make(request: pytest.FixtureRequest) -> Callable[[int], Pool]:
    name: str = request.param
    return lambda capacity_bytes: make_pool(name, capacity_bytes)


@every
@given(script=scripts, capacity_bytes=st.sampled_from([45 * MIB, 70 * MIB + 511, ENDLESS_BYTES]))
@quick
def test_blocks_are_apart_and_no_byte_is_lost(name: str, script: list[Step], capacity_bytes: int) -> None:
    pool = make_pool(name, capacity_bytes)
    asked: dict[int, int] = {}
    for size, address in play(pool, script):
        if size and address is not None:
            asked[address] = size
        elif address is not None:
            del asked[address]
        blocks = pool.live_blocks()
        assert [start for start, _ in blocks] == sorted(asked)
        assert all(length >= asked[start] and start % 512 == length % 512 == 0 for start, length in blocks)
        assert all(start + length <= after for (start, length), (after, _) in pairwise(blocks))
        assert all(start >= 0 and start + length <= pool.span_bytes for start, length in blocks)
        assert pool.in_use_bytes == sum(length for _, length in blocks) <= capacity_bytes
        assert pool.in_use_bytes + pool.free_bytes == capacity_bytes
        assert pool.in_use_bytes <= pool.high_water_bytes
    for address in asked:
        pool.free(address)
    assert (pool.live_blocks(), pool.in_use_bytes, pool.free_bytes) == ([], 0, capacity_bytes)
    pool.allocate(40 * MIB)


@every
@given(script=steps(12 * MIB))
@quick
def test_a_request_of_the_largest_hole_succeeds_and_of_one_byte_more_fails(name: str, script: list[Step]) -> None:
    for more in (1, 0):
        pool = make_pool(name, 70 * MIB)
        list(play(pool, script))
        largest_bytes = pool.largest_hole_bytes
        if more:
            blocks = pool.live_blocks()
            with pytest.raises(PoolExhausted):
                pool.allocate(largest_bytes + 1)
            assert pool.live_blocks() == blocks
        else:
            pool.allocate(largest_bytes)


def test_an_endless_pool_fills_its_holes_before_its_end(make: Callable[[int], Pool]) -> None:
    pool = make(ENDLESS_BYTES)
    mib = 2**20
    addresses = [pool.allocate(20 * mib) for _ in range(4)]
    assert addresses == [0, 20 * mib, 40 * mib, 60 * mib]
    pool.free(addresses[1])
    assert pool.allocate(19 * mib) == 20 * mib
    assert pool.high_water_bytes == pool.reserved_bytes == pool.span_bytes == 80 * mib
    assert pool.largest_hole_bytes >= ENDLESS_BYTES - 82 * mib


def test_equal_calls_give_equal_addresses(make: Callable[[int], Pool]) -> None:
    def run(pool: Pool) -> list[int]:
        addresses = [pool.allocate(size) for size in range(1, 3_000_000, 70_001)]
        for address in addresses[::3]:
            pool.free(address)
        return addresses + [pool.allocate(size) for size in range(3_000_000, 1, -170_001)]

    assert run(make(1024 * MIB)) == run(make(1024 * MIB))
