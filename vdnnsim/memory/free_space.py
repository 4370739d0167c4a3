"""Free ranges of memory: where a request goes (`take`), and what happens to a range given back (`put`).

Sizes and addresses are integers in bytes. The two kinds differ only in which hole they choose, and so in the
order they keep the holes in; cutting and merging is the same for both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort

_ADDRESS_BITS = 96
_ADDRESS_MASK = (1 << _ADDRESS_BITS) - 1


class Holes(ABC):
    """Disjoint free ranges. A rest below `min_rest_bytes` is not cut off but goes with the block."""

    __slots__ = ("_min_rest_bytes", "_start_of_end", "sizes")

    def __init__(self, min_rest_bytes: int = 1) -> None:
        self.sizes: dict[int, int] = {}
        """Start address -> size of each hole; to be read only."""
        self._start_of_end: dict[int, int] = {}
        self._min_rest_bytes = min_rest_bytes

    @abstractmethod
    def _cut(self, size: int) -> int:
        """Chooses a hole of at least `size` and leaves its rest, if that is kept, in its place in the order.

        Returns the start of the hole, -1 if there is none; `sizes` still has the hole as it was.
        """

    @abstractmethod
    def _insert(self, start: int, size: int) -> None:
        """Adds a hole to the order."""

    @abstractmethod
    def _remove(self, start: int, size: int) -> None:
        """Takes a hole out of the order; it is there."""

    def take(self, size: int) -> tuple[int, int] | None:
        """(address, size) of a block at the low end of the chosen hole; None if no hole is large enough.

        The block is larger than asked for only where the rest of the hole was too small to cut off.
        """
        start = self._cut(size)
        if start < 0:
            return None
        hole = self.sizes.pop(start)
        rest = hole - size
        if rest >= self._min_rest_bytes:
            rest_start = start + size
            self.sizes[rest_start] = rest
            self._start_of_end[start + hole] = rest_start
            return start, size
        del self._start_of_end[start + hole]
        return start, hole

    def take_at(self, address: int, size: int) -> bool:
        """Whether this range is free; it is taken then, and what is left of its hole below and above stays free."""
        end = address + size
        start = next((start for start, hole in self.sizes.items() if start <= address and end <= start + hole), None)
        if start is None:
            return False
        hole = self.sizes[start]
        self.discard(start)
        for rest, rest_end in ((start, address), (end, start + hole)):
            if rest < rest_end:
                self.put(rest, rest_end - rest)
        return True

    def put(self, start: int, size: int, merge_below: bool = True, merge_above: bool = True) -> None:
        """Makes a range free, in one with the hole that ends where it starts and the one that starts at its end.

        Either merge can be forbidden: a boundary lies there that no block may cross.
        """
        end = start + size
        below = self._start_of_end.pop(start, -1) if merge_below else -1
        above_size = self.sizes.pop(end, 0) if merge_above else 0
        if above_size:
            self._remove(end, above_size)
            end += above_size
        if below >= 0:
            self._remove(below, start - below)
            start = below
        self._insert(start, end - start)
        self.sizes[start] = end - start
        self._start_of_end[end] = start

    def discard(self, start: int) -> None:
        """Forgets the hole that starts there: the memory is no longer ours to give."""
        size = self.sizes.pop(start)
        del self._start_of_end[start + size]
        self._remove(start, size)

    @property
    def largest_rest_bytes(self) -> int:
        """The largest rest of a hole that is not cut off."""
        return self._min_rest_bytes - 1

    @property
    def largest_bytes(self) -> int:
        """The size of the largest hole; 0 without one."""
        return max(self.sizes.values(), default=0)


class BestFitHoles(Holes):
    """Chooses the smallest hole that is large enough, of equal ones the lowest address."""

    __slots__ = ("_by_size",)

    def __init__(self, min_rest_bytes: int = 1) -> None:
        super().__init__(min_rest_bytes)
        self._by_size: list[int] = []  # size << _ADDRESS_BITS | start, ascending: quicker than pairs

    def _cut(self, size: int) -> int:
        by_size = self._by_size
        index = bisect_left(by_size, size << _ADDRESS_BITS)
        if index == len(by_size):
            return -1
        key = by_size.pop(index)
        start = key & _ADDRESS_MASK
        rest = (key >> _ADDRESS_BITS) - size
        if rest >= self._min_rest_bytes:
            insort(by_size, rest << _ADDRESS_BITS | start + size)
        return start

    def _insert(self, start: int, size: int) -> None:
        insort(self._by_size, size << _ADDRESS_BITS | start)

    def _remove(self, start: int, size: int) -> None:
        del self._by_size[bisect_left(self._by_size, size << _ADDRESS_BITS | start)]


class FirstFitHoles(Holes):
    """Chooses the lowest address where a hole is large enough."""

    __slots__ = ("_starts",)

    def __init__(self, min_rest_bytes: int = 1) -> None:
        super().__init__(min_rest_bytes)
        self._starts: list[int] = []

    def _cut(self, size: int) -> int:
        sizes, starts = self.sizes, self._starts
        for index, start in enumerate(starts):
            rest = sizes[start] - size
            if rest >= 0:
                if rest >= self._min_rest_bytes:
                    starts[index] = start + size
                else:
                    del starts[index]
                return start
        return -1

    def _insert(self, start: int, size: int) -> None:  # noqa: ARG002 - the order is by address alone
        insort(self._starts, start)

    def _remove(self, start: int, size: int) -> None:  # noqa: ARG002
        del self._starts[bisect_left(self._starts, start)]
