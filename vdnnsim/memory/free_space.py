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

    @abstractmethod
    def _grow(self, old_start: int, old_size: int, start: int, size: int) -> None:
        """Puts a hole that contains the old one in its place in the order; no other hole is in between."""

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

    def put(self, start: int, size: int, merge_below: bool = True, merge_above: bool = True) -> None:
        """Makes a range free, in one with the hole that ends where it starts and the one that starts at its end.

        Either merge can be forbidden: a boundary lies there that no block may cross.
        """
        end = start + size
        below = self._start_of_end.pop(start, -1) if merge_below else -1
        above_size = self.sizes.pop(end, 0) if merge_above else 0
        if below >= 0:
            if above_size:
                self._remove(end, above_size)
            size = end + above_size - below
            self._grow(below, start - below, below, size)
            start = below
        elif above_size:
            size += above_size
            self._grow(end, above_size, start, size)
        else:
            self._insert(start, size)
        self.sizes[start] = size
        self._start_of_end[end + above_size] = start

    def discard(self, start: int) -> None:
        """Forgets the hole that starts there: the memory is no longer ours to give."""
        size = self.sizes.pop(start)
        del self._start_of_end[start + size]
        self._remove(start, size)

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
        key = by_size[index]
        start = key & _ADDRESS_MASK
        rest = (key >> _ADDRESS_BITS) - size
        if rest < self._min_rest_bytes:
            del by_size[index]
            return start
        key = rest << _ADDRESS_BITS | start + size
        if not index or by_size[index - 1] < key:
            by_size[index] = key
        else:
            del by_size[index]
            insort(by_size, key, 0, index)
        return start

    def _insert(self, start: int, size: int) -> None:
        insort(self._by_size, size << _ADDRESS_BITS | start)

    def _remove(self, start: int, size: int) -> None:
        by_size = self._by_size
        del by_size[bisect_left(by_size, size << _ADDRESS_BITS | start)]

    def _grow(self, old_start: int, old_size: int, start: int, size: int) -> None:
        by_size = self._by_size
        index = bisect_left(by_size, old_size << _ADDRESS_BITS | old_start)
        key = size << _ADDRESS_BITS | start
        if index + 1 == len(by_size) or key < by_size[index + 1]:
            by_size[index] = key
        else:
            del by_size[index]
            insort(by_size, key, index)


class FirstFitHoles(Holes):
    """Chooses the lowest address where a hole is large enough.

    Holes are kept in classes by the bit length of their size, so that a search looks only at the lowest hole of
    each larger class, which fits for sure, and at those holes of its own class that lie below (one by one).
    """

    __slots__ = ("_classes",)

    def __init__(self, min_rest_bytes: int = 1) -> None:
        super().__init__(min_rest_bytes)
        self._classes: dict[int, list[int]] = {}  # bit length of size -> starts, ascending; none empty

    def _cut(self, size: int) -> int:
        own = size.bit_length()
        start = -1
        for bits, starts in self._classes.items():
            if bits > own and (starts[0] < start or start < 0):
                start = starts[0]
        sizes = self.sizes
        for candidate in self._classes.get(own, ()):
            if candidate > start >= 0:
                break
            if sizes[candidate] >= size:
                start = candidate
                break
        if start < 0:
            return -1
        hole = sizes[start]
        if hole - size >= self._min_rest_bytes:
            self._replace(start, hole, start + size, hole - size)
        else:
            self._remove(start, hole)
        return start

    def _insert(self, start: int, size: int) -> None:
        starts = self._classes.get(size.bit_length())
        if starts is None:
            self._classes[size.bit_length()] = [start]
        else:
            insort(starts, start)

    def _remove(self, start: int, size: int) -> None:
        starts = self._classes[size.bit_length()]
        if len(starts) == 1:
            del self._classes[size.bit_length()]
        else:
            del starts[bisect_left(starts, start)]

    def _replace(self, old_start: int, old_size: int, start: int, size: int) -> None:
        bits = size.bit_length()
        if bits != old_size.bit_length():
            self._remove(old_start, old_size)
            self._insert(start, size)
        elif start != old_start:
            starts = self._classes[bits]
            starts[bisect_left(starts, old_start)] = start

    _grow = _replace
