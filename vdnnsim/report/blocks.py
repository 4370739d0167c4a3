"""Which buffer lay where in the pool, and how long: what maps of memory and PyTorch's snapshots show.

Timelines have no segments of PyTorch's allocator. What stands for them are stretches of addresses: a pool of one range
is one, up to its high water; in PyTorch's, whose segments lie anywhere, a new one begins behind `LARGE_SEGMENT_BYTES`
that the run never used.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from vdnnsim.memory import NULL_ADDRESS
from vdnnsim.memory.caching import LARGE_SEGMENT_BYTES, SEGMENT_GRANULARITY_BYTES
from vdnnsim.memory.pool import ROUND_MASK, ROUND_UP
from vdnnsim.results import Comparison, PolicyRun
from vdnnsim.timeline import SETUP

_EARLY = 0.6
"""Of the iteration: a last change before it leaves too much of a map in which nothing happens."""


class Block(NamedTuple):
    """A buffer from when it was taken, in step `step`, to when it was given back, or, `kept`, the end of the iteration.
    `end` is the address behind it, `size_bytes` as asked for; of these the pool gives whole multiples of 512."""

    buffer: str
    memory_class: str
    address: int
    end: int
    size_bytes: int
    begin_ns: int
    end_ns: int
    step: int
    kept: bool = True


class Stretch(NamedTuple):
    """Addresses from `address` to before `end`."""

    address: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.address


class Packed(NamedTuple):
    """Stretches one behind the other, without the addresses between them."""

    stretches: tuple[Stretch, ...]

    @property
    def size_bytes(self) -> int:
        return sum(stretch.size_bytes for stretch in self.stretches)

    def starts_bytes(self) -> list[int]:
        """How many bytes are before each stretch."""
        starts = [0]
        for stretch in self.stretches[:-1]:
            starts.append(starts[-1] + stretch.size_bytes)
        return starts

    def place_bytes(self, addresses: Iterable[int]) -> list[int]:
        """How many bytes are before each address, which lies in a stretch."""
        begins, starts = [stretch.address for stretch in self.stretches], self.starts_bytes()
        stretch_of = [bisect_right(begins, address) - 1 for address in addresses]
        return [starts[n] + address - begins[n] for n, address in zip(stretch_of, addresses, strict=True)]


def end_address(address: int, size_bytes: int) -> int:
    """The address behind a block of so many bytes, rounded as pools do."""
    return address + (size_bytes + ROUND_UP & ROUND_MASK)


def blocks_of(run: PolicyRun) -> list[Block]:
    """Every block of an iteration, in the order in which they were taken; buffers of no bytes have none."""
    blocks: list[Block] = []
    live: dict[str, int] = {}
    last_ns = max([run.timeline.iteration_time_ns, *(record.time_ns for record in run.timeline.memory[-1:])])
    for record in run.timeline.memory:
        address, size_bytes, now_ns = record.address, record.size_bytes, record.time_ns
        if address == NULL_ADDRESS:
            continue
        if record.taken:
            live[record.buffer] = len(blocks)
            end = end_address(address, size_bytes)
            kind = str(record.memory_class)
            blocks.append(Block(record.buffer, kind, address, end, size_bytes, now_ns, last_ns, record.step))
        else:
            place = live.pop(record.buffer)
            blocks[place] = blocks[place]._replace(end_ns=now_ns, kept=False)
    return blocks


def end_of_changes_ns(run: PolicyRun) -> int:
    """Until when there is anything to see: the end of the iteration, or a little after the last change where that comes
    early, as where the host runs far ahead of the kernels."""
    last_ns = run.timeline.memory[-1].time_ns if run.timeline.memory else 0
    whole_ns = max(1, run.timeline.iteration_time_ns)
    return last_ns + last_ns // 20 if 0 < last_ns < _EARLY * whole_ns else whole_ns


def packed_addresses(blocks: Iterable[Block], comparison: Comparison) -> Packed:
    """The stretches of addresses that hold these blocks."""
    if not comparison.in_segments:
        return Packed((Stretch(0, max((block.end for block in blocks), default=0)),))
    stretches: list[Stretch] = []
    for address, end in sorted({(block.address, block.end) for block in blocks}):
        begin = address // SEGMENT_GRANULARITY_BYTES * SEGMENT_GRANULARITY_BYTES
        end = -(-end // SEGMENT_GRANULARITY_BYTES) * SEGMENT_GRANULARITY_BYTES
        if stretches and begin <= stretches[-1].end + LARGE_SEGMENT_BYTES:
            stretches[-1] = Stretch(stretches[-1].address, max(end, stretches[-1].end))
        else:
            stretches.append(Stretch(begin, end))
    return Packed(tuple(stretches))


def unplaced(run: PolicyRun, blocks: Iterable[Block]) -> Block | None:
    """Of a policy that does not train, the block that found no room, where the run that had room has it too."""
    failure = run.result.failure
    if failure is None or not failure.on_device:
        return None
    of_buffer = [block for block in blocks if block.buffer == failure.buffer]
    there = [block for block in of_buffer if step_title(run, block.step) == failure.where]
    return next(iter(there or of_buffer), None)


def step_title(run: PolicyRun, step: int) -> str:
    """Such as "conv1_1 forward"."""
    return "set-up" if step == SETUP else run.program.titles[step]
