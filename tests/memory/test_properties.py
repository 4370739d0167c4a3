"""What holds after any sequence of requests and frees; each pool against a naive model of the same rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.pools import Step, play, quick, steps
from vdnnsim.memory import BestFitPool, CachingPool, FirstFitPool, make_pool
from vdnnsim.memory.caching import segment_bytes

Range = tuple[int, int]
MIB = 2**20


def check_tiling(ranges: list[Range], start: int, end: int) -> None:
    """The ranges cover start to end without gap or overlap."""
    for address, size in sorted(ranges):
        assert address == start
        assert size > 0
        start += size
    assert start == end


class NaivePool:
    """A byte range as a set of free units; chooses among maximal holes by the rule given."""

    def __init__(self, units: int, best: bool) -> None:
        self.owned = [False] * units
        self.best = best

    def holes(self) -> list[Range]:
        holes, start = [], None
        for unit, owned in enumerate([*self.owned, True]):
            if owned and start is not None:
                holes.append((start, unit - start))
                start = None
            elif not owned and start is None:
                start = unit
        return holes

    def allocate(self, size_bytes: int) -> int | None:
        units = (size_bytes + 511) // 512
        fitting = [hole for hole in self.holes() if hole[1] >= units]
        if not fitting:
            return None
        start = min(fitting, key=lambda hole: (hole[1] if self.best else 0, hole[0]))[0]
        self.owned[start : start + units] = [True] * units
        return start * 512

    def free(self, address: int, size: int) -> None:
        self.owned[address // 512 : (address + size) // 512] = [False] * (size // 512)


@pytest.mark.parametrize("name", ["best-fit", "first-fit"])
@given(script=steps(16 * 512))
@quick
def test_fixed_ranges_agree_with_a_naive_model(name: str, script: list[Step]) -> None:
    capacity_bytes = 64 * 512
    pool = make_pool(name, capacity_bytes)
    naive = NaivePool(64, best=name == "best-fit")
    high_water_bytes = 0
    blocks: dict[int, int] = {}
    for size, address in play(pool, script):
        if size:
            fits = size <= max((hole[1] * 512 for hole in naive.holes()), default=0)
            assert address == naive.allocate(size)
            assert (address is not None) == fits
        if size and address is not None:
            blocks[address] = -(-size // 512) * 512
            high_water_bytes = max(high_water_bytes, address + blocks[address])
        elif address is not None:
            naive.free(address, blocks.pop(address))
        assert pool.live_blocks() == sorted(blocks.items())
        assert pool.holes() == [(start * 512, units * 512) for start, units in naive.holes()]
        check_tiling(pool.live_blocks() + pool.holes(), 0, capacity_bytes)
        assert pool.in_use_bytes == sum(blocks.values()) == capacity_bytes - pool.free_bytes
        assert pool.largest_hole_bytes == max((size for _, size in pool.holes()), default=0)
        assert pool.high_water_bytes == high_water_bytes
    for address in blocks:
        pool.free(address)
    assert pool.holes() == [(0, capacity_bytes)]
    assert pool.in_use_bytes == 0


@given(script=steps(2**40))
@quick
def test_the_high_water_of_an_endless_pool_is_enough_for_first_fit(script: list[Step]) -> None:
    endless = FirstFitPool(2**62)
    addresses = list(play(endless, script))
    assert list(play(FirstFitPool(endless.high_water_bytes), script)) == addresses


def test_best_fit_places_blocks_elsewhere_in_a_pool_that_ends() -> None:
    """Its tail is a hole like the others: here the smaller one, where the endless pool's was the largest."""
    places = {}
    for capacity_bytes in (2**62, 2048):
        pool = BestFitPool(capacity_bytes)
        first, second, _ = (pool.allocate(512) for _ in range(3))
        pool.free(first)
        pool.free(second)
        places[capacity_bytes] = [pool.allocate(512) for _ in range(3)]
    assert places == {2**62: [0, 512, 1536], 2048: [1536, 0, 512]}


class NaiveCaching:
    """PyTorch's rules over segments that are plain lists of [size, live], in the order of their addresses."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.segments: dict[int, list[list[int]]] = {}

    def blocks(self) -> Iterator[tuple[int, int, int, int, int]]:
        """(size, address, segment, index, live) of every block."""
        for segment, parts in self.segments.items():
            address = segment
            for index, (size, live) in enumerate(parts):
                yield size, address, segment, index, live
                address += size

    def size_of(self, segment: int) -> int:
        return sum(size for size, _ in self.segments[segment])

    def allocate(self, size_bytes: int) -> int | None:
        size = -(-size_bytes // 512) * 512
        small = size <= MIB
        fitting = [
            block
            for block in self.blocks()
            if not block[4] and block[0] >= size and (self.size_of(block[2]) == 2 * MIB) == small
        ]
        if fitting:
            found, address, segment, index, _ = min(fitting)
            rest = found - size
            if rest and (small or rest > MIB):
                self.segments[segment][index : index + 1] = [[size, 1], [rest, 0]]
            else:
                self.segments[segment][index][1] = 1
            return address
        new = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
        for attempt in range(2):
            if attempt:
                self.segments = {a: s for a, s in self.segments.items() if len(s) > 1 or s[0][1]}
            if new + sum(map(self.size_of, self.segments)) <= self.capacity_bytes:
                place = 0
                for address in sorted(self.segments):
                    if address - place >= new:
                        break
                    place = address + self.size_of(address)
                self.segments[place] = [[new, 0]]
                return self.allocate(size_bytes)
        return None

    def free(self, freed: int) -> None:
        segment, index = next((b[2], b[3]) for b in self.blocks() if b[1] == freed and b[4])
        parts = self.segments[segment]
        parts[index][1] = 0
        for lower in (index, index - 1):
            if 0 <= lower < len(parts) - 1 and not parts[lower][1] and not parts[lower + 1][1]:
                parts[lower : lower + 2] = [[parts[lower][0] + parts[lower + 1][0], 0]]


mixed_sizes = st.one_of(steps(MIB), steps(9 * MIB), steps(30 * MIB), steps(3 * MIB))


@given(script=mixed_sizes, capacity_bytes=st.sampled_from([9 * MIB, 45 * MIB, 100 * MIB, 2**62]))
@quick
def test_caching_agrees_with_a_naive_model(script: list[Step], capacity_bytes: int) -> None:
    pool, naive = CachingPool(capacity_bytes), NaiveCaching(capacity_bytes)
    most_reserved_bytes = 0
    for size, address in play(pool, script):
        if size:
            assert address == naive.allocate(size)
        elif address is not None:
            naive.free(address)
        blocks = sorted((a, size) for size, a, _, _, live in naive.blocks() if live)
        holes = sorted((a, size) for size, a, _, _, live in naive.blocks() if not live)
        assert pool.live_blocks() == blocks
        assert pool.holes() == holes
        for segment in pool.segments():
            end = segment.address + segment.size_bytes
            inside = [block for block in blocks + holes if segment.address <= block[0] < end]
            check_tiling(inside, segment.address, end)
            assert end <= pool.span_bytes
        assert pool.in_use_bytes == sum(size for _, size in blocks)
        assert pool.reserved_bytes == sum(segment.size_bytes for segment in pool.segments())
        assert pool.reserved_bytes == sum(size for _, size in blocks + holes)
        assert pool.reserved_bytes <= capacity_bytes
        most_reserved_bytes = max(most_reserved_bytes, pool.reserved_bytes)
        # A failed request may reserve nothing and release much, never the other way round.
        assert pool.high_water_bytes >= most_reserved_bytes
    for address, _ in pool.live_blocks():
        pool.free(address)
    pool.empty_cache()
    assert (pool.segments(), pool.holes(), pool.in_use_bytes, pool.reserved_bytes) == ([], [], 0, 0)


@given(size=st.integers(1, 2**45).map(lambda units: units * 512))
@quick
def test_a_segment_has_room_for_its_request(size: int) -> None:
    assert segment_bytes(size) >= size
    assert segment_bytes(size) % (2 * MIB) == 0
