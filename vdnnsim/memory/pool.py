"""What every pool of device memory does: hand out addresses, take them back, say how full it is.

All sizes and addresses are integers in bytes; addresses count from the start of the pool. Pools know no time:
the machine decides when a free takes effect (at once, or after a stream has passed it). The same calls give
the same addresses, always.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from typing import ClassVar, Final

from vdnnsim.errors import InvalidInput, VdnnsimError
from vdnnsim.units import format_bytes

NULL_ADDRESS: Final = -1
"""The address of a request of 0 bytes, which holds no block; freeing it does nothing, however often."""

GRANULARITY_BYTES: Final = 512
"""Blocks start and end at multiples of this, in cnmem and in PyTorch."""

ROUND_UP: Final = GRANULARITY_BYTES - 1
ROUND_MASK: Final = -GRANULARITY_BYTES
"""``size + ROUND_UP & ROUND_MASK`` is the size rounded up to the granularity."""

ENDLESS_BYTES: Final = 2**62
"""A capacity that no program fills: the high water of such a pool is the capacity the program needs."""


class PoolExhausted(VdnnsimError):  # noqa: N818 - reads as what it is
    """No room; ``args`` is (requested, capacity, in use, largest hole), all in bytes, requested as asked for."""

    def __init__(self, requested_bytes: int, capacity_bytes: int, in_use_bytes: int, largest_hole_bytes: int) -> None:
        super().__init__(requested_bytes, capacity_bytes, in_use_bytes, largest_hole_bytes)
        self.requested_bytes = requested_bytes
        self.capacity_bytes = capacity_bytes
        self.in_use_bytes = in_use_bytes
        self.largest_hole_bytes = largest_hole_bytes

    @property
    def fragmented(self) -> bool:
        """Whether there are enough free bytes, but not in one place."""
        return self.requested_bytes <= self.capacity_bytes - self.in_use_bytes

    def __str__(self) -> str:
        free_bytes = self.capacity_bytes - self.in_use_bytes
        why = "free memory is in pieces" if self.fragmented else "not enough free memory"
        return (
            f"out of device memory, {why}: requested {_both(self.requested_bytes)}, "
            f"in use {_both(self.in_use_bytes)} of {_both(self.capacity_bytes)}, free {_both(free_bytes)}, "
            f"largest hole {_both(self.largest_hole_bytes)}"
        )


class InvalidFree(VdnnsimError, ValueError):  # noqa: N818 - reads as what it is
    """A free of an address where no live block starts; ``args`` is (address, number of live blocks)."""

    def __init__(self, address: int, live_blocks: int) -> None:
        super().__init__(address, live_blocks)

    def __str__(self) -> str:
        address, live_blocks = self.args
        return (
            f"free of address {address}: no live block starts there ({live_blocks} are live); "
            "it was freed before or never allocated"
        )


def _both(count: int) -> str:
    return f"{count} bytes ({format_bytes(count)})" if count >= 1000 else f"{count} bytes"


class Pool(ABC):
    """Device memory of `capacity_bytes`; raises `InvalidInput` if that is no integer or negative.

    Every kind promises, and `tests/memory/test_promises.py` holds each one in `POOLS` to it:

    * Live blocks do not overlap, start and end at multiples of 512 B, lie within `span_bytes`, and are at least as
      large as was asked for. `in_use_bytes` is their sum and stays within the capacity; what is freed comes back whole.
    * A request of `largest_hole_bytes` succeeds; one of a byte more raises `PoolExhausted` and changes no live block.
    * Equal calls give equal addresses: nothing random, no clock, no address of the real machine.
    * In a pool of `ENDLESS_BYTES` a request takes a hole among the blocks before it takes room behind them, and so
      `high_water_bytes` is about what a program needs: `needed_bytes` starts from it.
    """

    __slots__ = ("_blocks", "_capacity_bytes", "_high_water_bytes", "_in_use_bytes")
    name: ClassVar[str]
    """What the pool is called in files and commands."""
    places: ClassVar[bool] = False
    """Whether a schedule may say where blocks lie."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = _checked(capacity_bytes, "pool capacity")
        self._blocks: dict[int, int] = {}  # address -> size, live blocks only
        self._in_use_bytes = 0
        self._high_water_bytes = 0

    @abstractmethod
    def allocate(self, size_bytes: int) -> int:
        """The address of a new block of at least `size_bytes`; `NULL_ADDRESS`, without a block, for 0.

        Raises `PoolExhausted` if there is no room, `InvalidInput` if the size is negative or no integer.
        """

    def allocate_apart(self, size_bytes: int) -> int:
        """As `allocate`, while another stream than the first is the current one: where an allocator keeps its streams'
        memory apart."""
        return self.allocate(size_bytes)

    def allocate_at(self, address: int, size_bytes: int) -> int:  # noqa: ARG002
        """As `allocate`, at this address, a multiple of 512. Raises `PoolExhausted` where something lies there, or it
        is beyond the capacity; `InvalidInput` where the pool alone says where blocks lie."""
        raise InvalidInput(f"pool {self.name}: found a block for address {address}, expected to choose where it lies")

    @abstractmethod
    def free(self, address: int) -> None:
        """Gives a live block back; ignores `NULL_ADDRESS`. Raises `InvalidFree` where no live block starts."""

    @abstractmethod
    def holes(self) -> list[tuple[int, int]]:
        """(address, size in bytes) of every free range that blocks can be cut from, by address."""

    @property
    @abstractmethod
    def largest_hole_bytes(self) -> int:
        """The largest request that would succeed now."""

    @property
    @abstractmethod
    def reserved_bytes(self) -> int:
        """What the pool holds of the device, in use or not."""

    @property
    @abstractmethod
    def span_bytes(self) -> int:
        """The highest end address so far: a buffer this large has room for every block at its address."""

    def restart_high_water(self) -> None:
        """From now on `high_water_bytes` counts anew, from what is needed now."""
        self._high_water_bytes = self.reserved_bytes

    def live_blocks(self) -> list[tuple[int, int]]:
        """(address, size in bytes after rounding) of every live block, by address."""
        return sorted(self._blocks.items())

    @property
    def capacity_bytes(self) -> int:
        """The capacity as given."""
        return self._capacity_bytes

    @property
    def in_use_bytes(self) -> int:
        """The sum of all live blocks, after rounding."""
        return self._in_use_bytes

    @property
    def free_bytes(self) -> int:
        """Capacity less what is in use, in however many pieces."""
        return self._capacity_bytes - self._in_use_bytes

    @property
    def high_water_bytes(self) -> int:
        """The most that was ever needed of the device; each kind of pool says how it counts."""
        return self._high_water_bytes

    def _exhausted(self, requested_bytes: int) -> PoolExhausted:
        return PoolExhausted(requested_bytes, self._capacity_bytes, self._in_use_bytes, self.largest_hole_bytes)

    def _no_block_at(self, address: int) -> None:
        if address != NULL_ADDRESS:
            raise InvalidFree(address, len(self._blocks))


def checked_size(size_bytes: int) -> int:
    """The size of a request as a plain `int` (numpy's integers are converted). Raises `InvalidInput`."""
    return _checked(size_bytes, "size of an allocation")


def _checked(count: int, what: str) -> int:
    try:
        plain = operator.index(count)
    except TypeError:
        plain = -1
    if plain < 0:
        raise InvalidInput(f"{what}: found {count!r}, expected a whole number of bytes, 0 or more")
    return plain
