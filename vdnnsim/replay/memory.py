"""The memory of a replay: bytes counted, or a pool with addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from vdnnsim.memory import Pool, PoolExhausted, make_pool

BYTES = "bytes"
"""Memory without addresses."""


class Memory(Protocol):
    """What an operator's tensors are taken from, all or none; each has a piece, which is given back."""

    @property
    def peak_bytes(self) -> int:
        """The most that was needed at once: of a pool, what reaches to the highest address."""

    def take(self, sizes_bytes: Sequence[int]) -> Sequence[int] | None:
        """A piece for each; None where there is no room for all."""

    def give(self, piece: int) -> None:
        """A piece is free again."""


class CountedMemory:
    """Bytes alone, as simrd counts them; a piece is its size."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.peak_bytes = 0

    def take(self, sizes_bytes: Sequence[int]) -> Sequence[int] | None:
        used_bytes = self.used_bytes + sum(sizes_bytes)
        if used_bytes > self.capacity_bytes:
            return None
        self.used_bytes = used_bytes
        if used_bytes > self.peak_bytes:
            self.peak_bytes = used_bytes
        return sizes_bytes

    def give(self, piece: int) -> None:
        self.used_bytes -= piece


class PooledMemory:
    """A pool; a piece is its address."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    @property
    def peak_bytes(self) -> int:
        return self.pool.high_water_bytes

    def take(self, sizes_bytes: Sequence[int]) -> Sequence[int] | None:
        taken: list[int] = []
        if sum(sizes_bytes) > self.pool.free_bytes:
            return None
        try:
            for size_bytes in sizes_bytes:
                taken.append(self.pool.allocate(size_bytes))
        except PoolExhausted:
            for piece in taken:
                self.pool.free(piece)
            return None
        return taken

    def give(self, piece: int) -> None:
        self.pool.free(piece)


def make_memory(name: str, capacity_bytes: int) -> Memory:
    """`BYTES`, or a pool by its name. Raises `UnknownName`."""
    return CountedMemory(capacity_bytes) if name == BYTES else PooledMemory(make_pool(name, capacity_bytes))
