"""The device memory in which a captured step begins, and what of it one step hands on to the next.

On a GPU that is PyTorch's allocator as it was then: its segments, and the live blocks in them at their addresses. On a
CPU PyTorch caches nothing, and what is asked for is what is held.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.step import BEFORE_STEP, AllocatorSegment, Block, BlockClass, CapturedStep, StepHeader
from vdnnsim.memory import CachingPool, HeldBlock, PlainPool, Pool, Segment

DEFAULT_ALLOCATOR = "as PyTorch has it"
"""What a capture's conditions say of an allocator without options."""
_NOT_MODELLED = (
    "expandable_segments:True",
    "max_split_size_mb",
    "roundup_power2_divisions",
    "garbage_collection_threshold",
    "backend:cudaMallocAsync",
)


def unmodelled_options(options: str) -> str:
    """What of an allocator's options, as the environment has them, is not modelled, and what that means; empty where
    all is."""
    found = [option for option in _NOT_MODELLED if option in options]
    if not found:
        return ""
    return (
        f"the allocator's {', '.join(found)} {'is' if len(found) == 1 else 'are'} not modelled: what it gives and "
        "holds, and what fits, are those of an allocator without options"
    )


def unmodelled_allocator(header: StepHeader) -> str:
    """The same of the allocator under which a step was captured."""
    return unmodelled_options(header.conditions.get("allocator", DEFAULT_ALLOCATOR))


def pool_of(step: CapturedStep, capacity_bytes: int) -> Pool:
    """The allocator of the step's device as it is when the step begins, with no more than `capacity_bytes` of the
    device: a cap, or all of it. Where no segments were captured, or those of an `unmodelled_allocator`, it begins
    empty, and gives the blocks that are there before the step addresses of its own. Raises `InvalidInput` for segments
    that cannot be this allocator's."""
    if step.header.device == "cpu":
        return PlainPool(capacity_bytes)
    if not _begins_as_it_was(step):
        return CachingPool(capacity_bytes)
    blocks = [HeldBlock(block.address, max(block.held_bytes, block.size_bytes)) for _, block in _in_segments(step)]
    return CachingPool.begun(capacity_bytes, (Segment(*segment) for segment in step.segments), blocks)


def addresses_of(step: CapturedStep) -> dict[str, int]:
    """Where `pool_of` has the blocks that are there before the step, by their names; none where it begins empty. One
    that lies in no segment is not among them: where it was is not known, and the pool finds it a place."""
    if not _begins_as_it_was(step):
        return {}
    return {block_name(number): block.address for number, block in _in_segments(step)}


def as_found(
    step: CapturedStep,
    segments: Iterable[AllocatorSegment],
    blocks: Mapping[int, tuple[int, int]],
    named: Iterable[int],
) -> CapturedStep:
    """The same step beginning in another memory, such as that of another process, or a later one.

    `blocks` are those in use, by address with their bytes as asked for and as held; `named` the addresses of what model
    and optimiser hold, in the order in which a capture lists it first. What else is there before the step goes by its
    size, at its old address where one is there. Returns the step itself where this memory lacks one of its blocks.
    """
    left = dict(blocks)
    there = dict(_there_before(step))
    at = dict(zip(there, dict.fromkeys(named), strict=False))
    at |= {n: block.address for n, block in there.items() if n not in at and _is_at(block, blocks, at.values())}
    found = list(step.blocks)
    for number in sorted(there, key=lambda number: number not in at):
        block = there[number]
        same = [address for address, (asked, _) in left.items() if asked == block.size_bytes]
        address = at.get(number, next(iter(same), None))
        if address is None or address not in same:
            return step
        found[number] = block._replace(address=address, held_bytes=left.pop(address)[1])
    return replace(step, blocks=tuple(found), segments=tuple(sorted(segments)))


def _is_at(block: Block, blocks: Mapping[int, tuple[int, int]], others: Collection[int]) -> bool:
    """Whether one of its size lies where it was, and none of the others."""
    asked, _ = blocks.get(block.address, (None, 0))
    return asked == block.size_bytes and block.address not in others


def successors_of(step: CapturedStep) -> dict[str, str]:
    """Of each block that the step leaves behind, which of those before the step it is in the next one: this step's
    gradients are what the next one gives back. Both are of one size and class. Those at one address belong together,
    since a step that was captured is one of many equal ones; of the others the one taken last with the one given back
    first, since backward goes through the parameters from the last to the first."""
    gone: dict[tuple[int, BlockClass], list[tuple[int, int]]] = {}
    for number, block in sorted(_there_before(step), key=lambda one: one[1].given or 0):
        if block.given is not None:
            gone.setdefault((block.size_bytes, block.holds), []).append((number, block.address))
    left = [
        (number, block)
        for number, block in enumerate(step.blocks)
        if block.taken != BEFORE_STEP and block.given is None and block.size_bytes
    ]
    left.sort(key=lambda one: one[1].taken, reverse=True)
    found: dict[str, str] = {}
    for by_address in (True, False):
        for number, block in left:
            those = gone.get((block.size_bytes, block.holds), [])
            place = _place_of(block.address, those) if by_address else 0
            if block_name(number) not in found and place is not None and place < len(those):
                found[block_name(number)] = block_name(those.pop(place)[0])
    return found


def _begins_as_it_was(step: CapturedStep) -> bool:
    return step.header.device != "cpu" and bool(step.segments) and not unmodelled_allocator(step.header)


def _in_segments(step: CapturedStep) -> list[tuple[int, Block]]:
    segments = sorted(step.segments)
    begins = [segment.address for segment in segments]
    found = []
    for number, block in _there_before(step):
        place = bisect_right(begins, block.address) - 1
        if place >= 0 and block.address < segments[place].address + segments[place].size_bytes:
            found.append((number, block))
    return found


def _there_before(step: CapturedStep) -> list[tuple[int, Block]]:
    return [(n, block) for n, block in enumerate(step.blocks) if block.taken == BEFORE_STEP and block.size_bytes]


def _place_of(address: int, those: list[tuple[int, int]]) -> int | None:
    return next((place for place, (_, its) in enumerate(those) if its == address and address), None)
