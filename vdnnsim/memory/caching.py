"""PyTorch's CUDA caching allocator, for one device and two streams, with its options at their defaults.

Rules as in the public sources of PyTorch (c10/cuda/CUDACachingAllocator):

* Requests round up to 512 B. Up to 1 MiB they are served by the small pool, above by the large pool.
* Best fit among the free blocks of that pool, ties to the lowest address, low end first. The rest is cut off if it
  is at least 512 B (small) or more than 1 MiB (large); otherwise the block is handed out whole.
* Without a fitting block a segment is taken from the device: 2 MiB for the small pool, 20 MiB for requests
  below 10 MiB, for larger ones the request rounded up to 2 MiB.
* If the device has no room, every free block that is a whole segment goes back to it and the segment is
  tried once more. (With the default, no ``max_split_size_mb``, PyTorch's earlier attempt to give back just one
  oversize block is skipped; it could find nothing, since a cached block that fits has already been used.)
* A freed block merges with free neighbours of its segment and stays reserved.
* Segments, and the free blocks in them, belong to the stream that was current when they were taken: requests of another
  are never served from them (`allocate_apart`). What gives segments back gives back those of all streams.

Its options (``PYTORCH_CUDA_ALLOC_CONF``) are not modelled: expandable segments, ``max_split_size_mb``, rounding to
divisions of powers of two, garbage collection.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple, Self

from vdnnsim.errors import InvalidInput
from vdnnsim.memory.fixed_range import FirstFitPool
from vdnnsim.memory.free_space import BestFitHoles
from vdnnsim.memory.pool import GRANULARITY_BYTES, NULL_ADDRESS, ROUND_MASK, ROUND_UP, Pool, checked_size

_MIB = 2**20
SMALL_REQUEST_BYTES = _MIB
"""Requests up to this are small."""
SMALL_SEGMENT_BYTES = 2 * _MIB
LARGE_SEGMENT_BYTES = 20 * _MIB
OWN_SEGMENT_REQUEST_BYTES = 10 * _MIB
"""Requests from this on get a segment of their own size."""
SEGMENT_GRANULARITY_BYTES = 2 * _MIB
_ADDRESS_SPACE_FACTOR = 64


class Segment(NamedTuple):
    """One device allocation: its address and size in bytes, and whether it belongs to the small pool."""

    address: int
    size_bytes: int
    small: bool


class HeldBlock(NamedTuple):
    """A live block of a segment: its address, and how many bytes the allocator holds for it. A rest of the segment
    behind it that is too small to be cut off belongs to it, whether that counts it or not."""

    address: int
    size_bytes: int


class CachingPool(Pool):
    """PyTorch's allocator over a device of `capacity_bytes`.

    The device maps pages, so segments do not fragment it: one fits if the sum of all segments stays within
    ``capacity_bytes``. Their addresses are the lowest free ones of an address space that is larger than the
    capacity (64 times, more than first fit can ever spread), so after segments were given back an address
    can lie above ``capacity_bytes``; ``span_bytes`` is the end of the highest segment so far.

    ``reserved_bytes`` is the sum of the segments, ``high_water_bytes`` its highest value, ``in_use_bytes`` what PyTorch
    calls allocated, ``retries`` what it calls num_alloc_retries. ``holes()`` are the free blocks inside the segments.
    An allocation that raises `PoolExhausted` has given all unused segments back to the device before, as in PyTorch.

    A pool may begin with segments and live blocks (`begun`), at any addresses; segments that it takes lie below them,
    each below those before it, or above where there is no room below. CUDA's driver cuts them from the top of the
    ranges that are free, which ones nobody can tell; of several holes that fit equally well the allocator takes the
    lowest, so the order counts. Measured on an H100 (docs/pytorch.md).
    """

    __slots__ = (
        "_apart",
        "_below",
        "_device",
        "_first_address",
        "_large",
        "_large_apart",
        "_reserved_bytes",
        "_retries",
        "_segments",
        "_small",
        "_small_apart",
    )
    name: ClassVar[str] = "pytorch-caching"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes)
        self._device = FirstFitPool(self._capacity_bytes * _ADDRESS_SPACE_FACTOR)
        self._small = BestFitHoles(min_rest_bytes=GRANULARITY_BYTES)
        self._large = BestFitHoles(min_rest_bytes=SMALL_REQUEST_BYTES + 1)
        self._small_apart = BestFitHoles(min_rest_bytes=GRANULARITY_BYTES)
        self._large_apart = BestFitHoles(min_rest_bytes=SMALL_REQUEST_BYTES + 1)
        self._apart: set[int] = set()
        """The live blocks of the other stream."""
        self._segments: dict[int, int] = {}  # address -> size; only small ones have SMALL_SEGMENT_BYTES
        self._reserved_bytes = 0
        self._below = 0
        self._first_address = 0
        self._retries = 0

    @classmethod
    def begun(cls, capacity_bytes: int, segments: Iterable[Segment], blocks: Iterable[HeldBlock]) -> Self:
        """A pool that holds these segments already, with these live blocks in them. They may be more than
        `capacity_bytes`, as in PyTorch, where a cap that comes later binds new segments alone. Raises `InvalidInput`
        for segments that are not of this allocator, or overlap, and for blocks that do not lie in them."""
        pool = cls(capacity_bytes)
        held = sorted(blocks)
        place = end = 0
        for segment in sorted(segments):
            _check_segment(segment, end)
            end = segment.address + segment.size_bytes
            pool._segments[segment.address] = segment.size_bytes
            pool._reserved_bytes += segment.size_bytes
            first = place
            while place < len(held) and held[place].address < end:
                place += 1
            pool._fill(segment, held[first:place])
        if place < len(held):
            raise InvalidInput(f"block at {held[place].address}: found no segment there, expected one around it")
        pool._high_water_bytes = pool._reserved_bytes
        pool._below = min(pool._segments, default=0) // SEGMENT_GRANULARITY_BYTES * SEGMENT_GRANULARITY_BYTES
        pool._first_address = -(-end // SEGMENT_GRANULARITY_BYTES) * SEGMENT_GRANULARITY_BYTES
        return pool

    def _fill(self, segment: Segment, blocks: list[HeldBlock]) -> None:
        """The live blocks of a segment, in order, and the holes between them."""
        holes = self._small if segment.small else self._large
        free, end = segment.address, segment.address + segment.size_bytes
        next_addresses = [*(block.address for block in blocks), end][1:]
        for block, next_address in zip(blocks, next_addresses, strict=True):
            size = block.size_bytes + ROUND_UP & ROUND_MASK
            if block.address < free or block.address + size > next_address:
                raise InvalidInput(
                    f"block of {block.size_bytes} bytes at {block.address}: found it across its neighbours or the "
                    f"segment of {segment.size_bytes} bytes at {segment.address}, expected it within"
                )
            if block.address > free:
                holes.put(free, block.address - free, merge_below=False, merge_above=False)
            rest = next_address - block.address - size
            size += rest if rest <= holes.largest_rest_bytes else 0
            self._blocks[block.address] = size
            self._in_use_bytes += size
            free = block.address + size
        if free < end:
            holes.put(free, end - free, merge_below=False, merge_above=False)

    def allocate(self, size_bytes: int) -> int:
        if type(size_bytes) is not int or size_bytes <= 0:
            size_bytes = checked_size(size_bytes)
            if size_bytes == 0:
                return NULL_ADDRESS
        rounded = size_bytes + ROUND_UP & ROUND_MASK
        holes = self._small if rounded <= SMALL_REQUEST_BYTES else self._large
        address, taken = holes.take(rounded) or self._take_new(holes, rounded, size_bytes)
        self._blocks[address] = taken
        self._in_use_bytes += taken
        return address

    def allocate_apart(self, size_bytes: int) -> int:
        size_bytes = checked_size(size_bytes)
        if size_bytes == 0:
            return NULL_ADDRESS
        rounded = size_bytes + ROUND_UP & ROUND_MASK
        holes = self._small_apart if rounded <= SMALL_REQUEST_BYTES else self._large_apart
        address, taken = holes.take(rounded) or self._take_new(holes, rounded, size_bytes)
        self._blocks[address] = taken
        self._in_use_bytes += taken
        self._apart.add(address)
        return address

    def free(self, address: int) -> None:
        size = self._blocks.pop(address, 0)
        if not size:
            return self._no_block_at(address)
        self._in_use_bytes -= size
        # Live blocks of the small pool are never larger than a small request, those of the large pool always are.
        if address in self._apart:
            self._apart.remove(address)
            holes = self._small_apart if size <= SMALL_REQUEST_BYTES else self._large_apart
        else:
            holes = self._small if size <= SMALL_REQUEST_BYTES else self._large
        segments = self._segments
        holes.put(address, size, address not in segments, address + size not in segments)
        return None

    def empty_cache(self) -> int:
        """Gives every segment without a live block back to the device; the bytes given back."""
        unused = self._unused_segments()
        for address, (size, holes) in unused.items():
            holes.discard(address)
            del self._segments[address]
            if address < self._below:
                self._device.free(self._below - address - size)
            elif address >= self._first_address:
                self._device.free(address - self._first_address)
        unused_bytes = sum(size for size, _ in unused.values())
        self._reserved_bytes -= unused_bytes
        return unused_bytes

    def segments(self) -> list[Segment]:
        """Every segment, by address; live blocks and holes tile each."""
        return [Segment(*item, item[1] == SMALL_SEGMENT_BYTES) for item in sorted(self._segments.items())]

    def holes(self) -> list[tuple[int, int]]:
        return sorted(hole for holes in self._all_holes for hole in holes.sizes.items())

    @property
    def largest_hole_bytes(self) -> int:
        """The largest request of the first stream that would succeed now, from a free block or a new segment.

        Not all smaller ones need succeed: with room for 12 MiB on the device a request of 12 MiB gets its own
        segment, and one of 5 MiB wants 20 MiB.
        """
        unused_bytes = sum(size for size, _ in self._unused_segments().values())
        room_bytes = self._capacity_bytes - self._reserved_bytes + unused_bytes
        if room_bytes >= OWN_SEGMENT_REQUEST_BYTES:
            from_device_bytes = room_bytes // SEGMENT_GRANULARITY_BYTES * SEGMENT_GRANULARITY_BYTES
        else:
            from_device_bytes = SMALL_REQUEST_BYTES if room_bytes >= SMALL_SEGMENT_BYTES else 0
        small_bytes = min(self._small.largest_bytes, SMALL_REQUEST_BYTES)
        return max(self._large.largest_bytes, from_device_bytes, small_bytes)

    @property
    def reserved_bytes(self) -> int:
        return self._reserved_bytes

    @property
    def retries(self) -> int:
        """How often all unused segments were given back because the device had no room for another one."""
        return self._retries

    @property
    def span_bytes(self) -> int:
        return self._first_address + self._device.high_water_bytes

    def _take_new(self, holes: BestFitHoles, rounded: int, requested_bytes: int) -> tuple[int, int]:
        """The address and size of a block from a new segment."""
        self._reserve(segment_bytes(rounded), holes, requested_bytes)
        block = holes.take(rounded)
        assert block is not None
        return block

    def _reserve(self, size: int, holes: BestFitHoles, requested_bytes: int) -> None:
        if self._reserved_bytes + size > self._capacity_bytes:
            self._retries += 1
            self.empty_cache()
            if self._reserved_bytes + size > self._capacity_bytes:
                raise self._exhausted(requested_bytes)
        place = self._device.allocate(size)
        below = self._below - place - size
        address = below if below > NULL_ADDRESS else self._first_address + place
        self._segments[address] = size
        self._reserved_bytes += size
        self._high_water_bytes = max(self._high_water_bytes, self._reserved_bytes)
        holes.put(address, size, merge_below=False, merge_above=False)

    @property
    def _all_holes(self) -> tuple[BestFitHoles, ...]:
        return self._small, self._large, self._small_apart, self._large_apart

    def _unused_segments(self) -> dict[int, tuple[int, BestFitHoles]]:
        """The address and size of each segment that is one hole, and the holes that it is among."""
        return {
            address: (size, holes)
            for holes in self._all_holes
            for address, size in self._segments.items() & holes.sizes.items()
        }


def _check_segment(segment: Segment, free_from: int) -> None:
    address, size_bytes, small = segment
    if address < free_from:
        raise InvalidInput(f"segment at {address}: found the one before it up to {free_from}, expected them apart")
    if small != (size_bytes == SMALL_SEGMENT_BYTES) or size_bytes % SEGMENT_GRANULARITY_BYTES or size_bytes <= 0:
        raise InvalidInput(
            f"segment at {address}: found {size_bytes} bytes for {'small' if small else 'large'} requests, expected "
            f"{SMALL_SEGMENT_BYTES} for small ones, another multiple of it for large ones; expandable segments and "
            "other options of PyTorch's allocator are not modelled"
        )


def segment_bytes(rounded_bytes: int) -> int:
    """The size of the segment that is taken from the device for a request of `rounded_bytes`."""
    if rounded_bytes <= SMALL_REQUEST_BYTES:
        return SMALL_SEGMENT_BYTES
    if rounded_bytes < OWN_SEGMENT_REQUEST_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-rounded_bytes // SEGMENT_GRANULARITY_BYTES) * SEGMENT_GRANULARITY_BYTES
