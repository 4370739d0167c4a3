"""Memory without an allocator of its own, as PyTorch has it on a CPU: what is asked for is what is held.

The system's allocator may do as it likes with addresses; what counts is the sum of the live requests, which is what
PyTorch's profiler counts there. Addresses are those of a best fit in an endless range, so that blocks do not overlap.
"""

from __future__ import annotations

from typing import ClassVar

from vdnnsim.memory.fixed_range import BestFitPool
from vdnnsim.memory.pool import ENDLESS_BYTES, NULL_ADDRESS, Pool, checked_size


class PlainPool(Pool):
    """Requests that succeed while their sum stays within `capacity_bytes`. ``in_use_bytes`` and ``reserved_bytes`` are
    the sum of what was asked for, ``high_water_bytes`` the most that it has been; no rounding, no holes."""

    __slots__ = ("_range",)
    name: ClassVar[str] = "plain"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._range = BestFitPool(ENDLESS_BYTES)

    def allocate(self, size_bytes: int) -> int:
        size_bytes = checked_size(size_bytes)
        if size_bytes == 0:
            return NULL_ADDRESS
        if self._in_use_bytes + size_bytes > self._capacity_bytes:
            raise self._exhausted(size_bytes)
        address = self._range.allocate(size_bytes)
        self._blocks[address] = size_bytes
        self._in_use_bytes += size_bytes
        self._high_water_bytes = max(self._high_water_bytes, self._in_use_bytes)
        return address

    def free(self, address: int) -> None:
        size_bytes = self._blocks.pop(address, 0)
        if not size_bytes:
            return self._no_block_at(address)
        self._range.free(address)
        self._in_use_bytes -= size_bytes
        return None

    def holes(self) -> list[tuple[int, int]]:
        return []

    @property
    def largest_hole_bytes(self) -> int:
        return self.free_bytes

    @property
    def reserved_bytes(self) -> int:
        return self._in_use_bytes

    @property
    def span_bytes(self) -> int:
        return self._range.span_bytes
