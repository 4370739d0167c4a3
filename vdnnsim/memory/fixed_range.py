"""One contiguous range of fixed size: best fit, as vDNN used cnmem, and first fit, the textbook rule to compare with.

Rules as in the public sources of cnmem (NVIDIA): requests round up to 512 B; size 0 succeeds without a block; the
smallest hole that is large enough, of equal ones the lowest; the request takes its low end and the rest always
stays free; free merges with both neighbours. vDNN forbids growth, so there is one device allocation and no
boundary inside it. In first fit only the choice differs: the lowest address where the request fits.
"""

from __future__ import annotations

from typing import ClassVar

from vdnnsim.memory.free_space import BestFitHoles, FirstFitHoles, Holes
from vdnnsim.memory.pool import NULL_ADDRESS, ROUND_MASK, ROUND_UP, Pool, checked_size


class FixedRangePool(Pool):
    """Blocks of a multiple of 512 B in the addresses 0 to `capacity_bytes`; nothing is ever added.

    A request takes the low end of the hole that `holes` chooses and the rest always stays free; a freed block
    merges with free neighbours on both sides. Live blocks and holes tile the range: ``in_use_bytes`` and the sum
    of the holes make ``capacity_bytes`` (bytes beyond the last multiple of 512 are a hole, or part of one,
    that no request can use).

    ``high_water_bytes`` is the highest end address so far, ``reserved_bytes`` and ``span_bytes`` are the same:
    the range that would have been enough. (A real cnmem pool holds its whole capacity from the start.)
    """

    __slots__ = ("_holes",)
    places: ClassVar[bool] = True

    def __init__(self, capacity_bytes: int, holes: Holes) -> None:
        super().__init__(capacity_bytes)
        self._holes = holes
        if self._capacity_bytes:
            holes.put(0, self._capacity_bytes)

    def allocate(self, size_bytes: int) -> int:
        if type(size_bytes) is not int or size_bytes <= 0:
            size_bytes = checked_size(size_bytes)
            if size_bytes == 0:
                return NULL_ADDRESS
        rounded = size_bytes + ROUND_UP & ROUND_MASK
        block = self._holes.take(rounded)
        if block is None:
            raise self._exhausted(size_bytes)
        return self._taken(block[0], rounded)

    def allocate_at(self, address: int, size_bytes: int) -> int:
        rounded = checked_size(size_bytes) + ROUND_UP & ROUND_MASK
        if rounded == 0:
            return NULL_ADDRESS
        if address & ROUND_UP or not self._holes.take_at(address, rounded):
            raise self._exhausted(size_bytes)
        return self._taken(address, rounded)

    def _taken(self, address: int, rounded: int) -> int:
        self._blocks[address] = rounded
        self._in_use_bytes += rounded
        if address + rounded > self._high_water_bytes:
            self._high_water_bytes = address + rounded
        return address

    def free(self, address: int) -> None:
        size = self._blocks.pop(address, 0)
        if not size:
            return self._no_block_at(address)
        self._in_use_bytes -= size
        self._holes.put(address, size)
        return None

    def restart_high_water(self) -> None:
        self._high_water_bytes = max((address + size for address, size in self._blocks.items()), default=0)

    def holes(self) -> list[tuple[int, int]]:
        return sorted(self._holes.sizes.items())

    @property
    def largest_hole_bytes(self) -> int:
        """The largest contiguous free range, in whole multiples of 512 B."""
        return self._holes.largest_bytes & ROUND_MASK

    @property
    def reserved_bytes(self) -> int:
        return self._high_water_bytes

    @property
    def span_bytes(self) -> int:
        return self._high_water_bytes


class BestFitPool(FixedRangePool):
    """The pool of vDNN. Raises and counts as `FixedRangePool` does."""

    __slots__ = ()
    name: ClassVar[str] = "best-fit"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes, BestFitHoles())


class FirstFitPool(FixedRangePool):
    """The lowest hole that is large enough. Raises and counts as `FixedRangePool` does."""

    __slots__ = ()
    name: ClassVar[str] = "first-fit"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes, FirstFitHoles())
