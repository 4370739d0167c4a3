"""Pools of device memory with addresses, so that fragmentation shows: best fit (cnmem), first fit, PyTorch's."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import isabstract
from types import MappingProxyType

from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.memory.caching import CachingPool, HeldBlock, Segment
from vdnnsim.memory.fixed_range import BestFitPool, FirstFitPool
from vdnnsim.memory.plain import PlainPool
from vdnnsim.memory.pool import ENDLESS_BYTES, NULL_ADDRESS, InvalidFree, Pool, PoolExhausted
from vdnnsim.own_classes import class_of

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
    "check_pool",
    "make_pool",
    "pool_kind",
]

POOLS: Mapping[str, type[Pool]] = MappingProxyType(
    {pool.name: pool for pool in (BestFitPool, FirstFitPool, CachingPool)}
)
"""Every kind of pool by its name."""


def pool_kind(name: str) -> type[Pool]:
    """A kind of pool by its name in `POOLS`, or one of a user's own as "module:Class". Raises `UnknownName`, or
    `InvalidInput` for a module or class that cannot be used."""
    if name in POOLS:
        return POOLS[name]
    if ":" not in name:
        raise UnknownName("pool", name, POOLS)
    kind = class_of("pool", name)
    if not issubclass(kind, Pool) or isabstract(kind):
        lacking = ", ".join(sorted(getattr(kind, "__abstractmethods__", ()))) if issubclass(kind, Pool) else ""
        found = f"one without {lacking}" if lacking else f"{kind.__name__}, which is none"
        raise InvalidInput(f"pool '{name}': found {found}, expected a vdnnsim.Pool")
    return kind


def check_pool(name: str) -> None:
    """Raise as `pool_kind`, and `InvalidInput` for one that cannot be made."""
    kind = pool_kind(name)
    if name not in POOLS:
        try:
            kind(ENDLESS_BYTES)
        except Exception as error:  # whatever a user's class may do
            found = f"{type(error).__name__}: {error}"
            raise InvalidInput(f"pool '{name}': cannot be made with a capacity alone: {found}") from error


def make_pool(name: str, capacity_bytes: int) -> Pool:
    """An empty pool. Raises as `pool_kind`, `InvalidInput` for a bad capacity."""
    return pool_kind(name)(capacity_bytes)
