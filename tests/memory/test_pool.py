"""What holds for every pool: requests of nothing, bad requests, errors and their data, names."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from vdnnsim.errors import InvalidInput, UnknownName, VdnnsimError
from vdnnsim.memory import (
    NULL_ADDRESS,
    POOLS,
    BestFitPool,
    CachingPool,
    FirstFitPool,
    InvalidFree,
    Pool,
    PoolExhausted,
    make_pool,
)

GIB = 2**30


@pytest.fixture(params=sorted(POOLS))
def make(request: pytest.FixtureRequest) -> Callable[[int], Pool]:
    name: str = request.param
    return lambda capacity_bytes: make_pool(name, capacity_bytes)


def test_names_lead_to_pools() -> None:
    assert {"best-fit": BestFitPool, "first-fit": FirstFitPool, "pytorch-caching": CachingPool}.items() <= POOLS.items()
    assert all(pool.name == name for name, pool in POOLS.items())


def test_the_registry_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        POOLS["mine"] = BestFitPool  # type: ignore[index]


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        make_pool("bestfit", GIB)
    assert caught.value.args == ("pool", "bestfit", tuple(POOLS))


def test_zero_bytes_hold_no_block(make: Callable[[int], Pool]) -> None:
    pool = make(GIB)
    assert pool.allocate(0) == NULL_ADDRESS
    assert (pool.live_blocks(), pool.in_use_bytes, pool.reserved_bytes) == ([], 0, 0)
    pool.free(NULL_ADDRESS)
    pool.free(NULL_ADDRESS)


def test_zero_bytes_succeed_in_a_pool_of_nothing(make: Callable[[int], Pool]) -> None:
    pool = make(0)
    assert pool.allocate(0) == NULL_ADDRESS
    assert (pool.holes(), pool.largest_hole_bytes, pool.free_bytes) == ([], 0, 0)
    with pytest.raises(PoolExhausted):
        pool.allocate(1)


@pytest.mark.parametrize("size", [-1, -512, 1.5, "12", None])
def test_sizes_are_whole_and_not_negative(make: Callable[[int], Pool], size: int) -> None:
    with pytest.raises(InvalidInput, match="size of an allocation: found"):
        make(GIB).allocate(size)


@pytest.mark.parametrize("capacity", [-1, 1e9, "1GB"])
def test_capacities_are_whole_and_not_negative(make: Callable[[int], Pool], capacity: int) -> None:
    with pytest.raises(InvalidInput, match="pool capacity: found"):
        make(capacity)


def test_numpy_integers_become_plain_ones(make: Callable[[int], Pool]) -> None:
    pool = make(np.int64(GIB))  # type: ignore[arg-type]
    pool.allocate(np.int64(100))  # type: ignore[arg-type]
    assert pool.live_blocks() == [(0, 512)]
    numbers = [pool.capacity_bytes, pool.in_use_bytes, *pool.live_blocks()[0], *pool.holes()[0]]
    assert {type(number) for number in numbers} == {int}


def test_only_the_start_of_a_live_block_can_be_freed_and_only_once(make: Callable[[int], Pool]) -> None:
    pool = make(GIB)
    first, second = pool.allocate(1024), pool.allocate(1024)
    pool.free(first)
    for address in (first, second + 512, 2**50, -2):
        with pytest.raises(InvalidFree) as caught:
            pool.free(address)
        assert caught.value.args == (address, 1)
    assert pool.live_blocks() == [(1024, 1024)]
    assert isinstance(caught.value, ValueError)


def test_a_failed_request_changes_no_block(make: Callable[[int], Pool]) -> None:
    pool = make(GIB)
    pool.allocate(1000)
    with pytest.raises(PoolExhausted) as caught:
        pool.allocate(2 * GIB)
    assert caught.value.args == (2 * GIB, GIB, 1024, pool.largest_hole_bytes)
    assert pool.live_blocks() == [(0, 1024)]
    assert pool.in_use_bytes == 1024


@pytest.mark.parametrize("error", [PoolExhausted(3000, 4096, 2048, 1024), InvalidFree(512, 7)])
def test_errors_are_rebuilt_from_their_args(error: VdnnsimError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), type(error)(*error.args)):
        assert type(again) is type(error)
        assert again.args == error.args
        assert vars(again) == vars(error)
        assert str(again) == str(error)


def test_exhausted_says_whether_memory_is_short_or_in_pieces() -> None:
    short = PoolExhausted(3000, 4096, 2048, 1024)
    assert (short.requested_bytes, short.capacity_bytes) == (3000, 4096)
    assert (short.in_use_bytes, short.largest_hole_bytes) == (2048, 1024)
    assert not short.fragmented
    assert str(short) == (
        "out of device memory, not enough free memory: requested 3000 bytes (3.0 KB), "
        "in use 2048 bytes (2.0 KB) of 4096 bytes (4.1 KB), free 2048 bytes (2.0 KB), "
        "largest hole 1024 bytes (1.0 KB)"
    )
    in_pieces = PoolExhausted(2000, 4096, 2048, 512)
    assert in_pieces.fragmented
    assert "free memory is in pieces: requested 2000 bytes" in str(in_pieces)
    assert str(in_pieces).endswith("largest hole 512 bytes")


def test_exhausted_in_a_process_keeps_its_data() -> None:
    simpy = pytest.importorskip("simpy")

    def process(env: object) -> object:
        yield env.timeout(1)  # type: ignore[attr-defined]
        BestFitPool(1024).allocate(2048)

    env = simpy.Environment()
    env.process(process(env))
    with pytest.raises(PoolExhausted) as caught:
        env.run()
    assert caught.value.args == (2048, 1024, 0, 1024)


def test_free_bytes_that_are_just_enough_are_in_pieces() -> None:
    assert PoolExhausted(2048, 4096, 2048, 512).fragmented
    assert not PoolExhausted(2049, 4096, 2048, 512).fragmented
