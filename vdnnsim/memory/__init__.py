"""Pools of device memory with addresses, so that fragmentation shows: best fit (cnmem), first fit, PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vdnnsim.errors import UnknownName
from vdnnsim.memory.caching import CachingPool, HeldBlock, Segment
from vdnnsim.memory.fixed_range import BestFitPool, FirstFitPool
from vdnnsim.memory.plain import PlainPool
from vdnnsim.memory.pool import ENDLESS_BYTES, NULL_ADDRESS, InvalidFree, Pool, PoolExhausted

__all__ = [
    "ENDLESS_BYTES",
    "NULL_ADDRESS",
    "POOLS",
    "BestFitPool",
    "CachingPool",
    "FirstFitPool",
    "HeldBlock",
    "InvalidFree",
    "PlainPool",
    "Pool",
    "PoolExhausted",
    "Segment",
    "make_pool",
]

POOLS: Mapping[str, type[Pool]] = MappingProxyType(
    {pool.name: pool for pool in (BestFitPool, FirstFitPool, CachingPool)}
)
"""Every kind of pool by its name."""


def make_pool(name: str, capacity_bytes: int) -> Pool:
    """An empty pool. Raises `UnknownName` for a name not in `POOLS`, `InvalidInput` for a bad capacity."""
    kind = POOLS.get(name)
    if kind is None:
        raise UnknownName("pool", name, POOLS)
    return kind(capacity_bytes)
