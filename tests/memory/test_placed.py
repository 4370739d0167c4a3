"""Blocks at addresses that a schedule chose."""

from __future__ import annotations

import pytest

from vdnnsim.errors import InvalidInput
from vdnnsim.memory import BestFitPool, CachingPool, FirstFitPool, PoolExhausted
from vdnnsim.memory.fixed_range import FixedRangePool

KINDS: tuple[type[BestFitPool | FirstFitPool], ...] = (BestFitPool, FirstFitPool)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_around_it_stays_free(kind: type[BestFitPool | FirstFitPool]) -> None:
    pool: FixedRangePool = kind(4096)
    assert pool.allocate_at(1024, 1000) == 1024
    assert pool.holes() == [(0, 1024), (2048, 2048)]
    assert (pool.in_use_bytes, pool.high_water_bytes) == (1024, 2048)
    assert pool.allocate(600) == 0
    pool.free(1024)
    assert pool.holes() == [(1024, 3072)]
    assert pool.allocate_at(1024, 3072) == 1024
    assert pool.holes() == []
    assert pool.allocate_at(0, 0) == -1


@pytest.mark.parametrize(("address", "size_bytes"), [(512, 1024), (1536, 512), (3584, 1024), (2000, 512), (8192, 1)])
def test_where_it_cannot_lie(address: int, size_bytes: int) -> None:
    pool = BestFitPool(4096)
    pool.allocate_at(1024, 1024)
    with pytest.raises(PoolExhausted):
        pool.allocate_at(address, size_bytes)
    assert pool.holes() == [(0, 1024), (2048, 2048)]


def test_a_pool_that_chooses_itself() -> None:
    with pytest.raises(InvalidInput, match="pool pytorch-caching: found a block for address 512, expected to choose"):
        CachingPool(4096).allocate_at(512, 512)
