"""The memory in which a captured step begins, and who is whose successor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from captured.steps import three_layers
from vdnnsim.captured import (
    BEFORE_STEP,
    AllocatorSegment,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    HookCosts,
    Seen,
    StepHeader,
    addresses_of,
    build_step,
    hook_schedule,
    pool_of,
    successors_of,
    unmodelled_allocator,
)
from vdnnsim.captured.iteration import buffers_of
from vdnnsim.captured.memory import as_found, unmodelled_options
from vdnnsim.errors import InvalidInput
from vdnnsim.machines import DeviceMemory
from vdnnsim.machines.steady import SteadyMemory, StepMemory, steady_memory
from vdnnsim.memory import CachingPool, PlainPool

MIB = 2**20
BASE = 0x7F00_0000_0000
GRADIENT, WEIGHT = BlockClass.GRADIENT, BlockClass.PARAMETER


def there(size_bytes: int, holds: BlockClass, address: int, given: int | None = None, held_bytes: int = 0) -> Block:
    return Block(size_bytes, holds, BEFORE_STEP, given, given, address=address, held_bytes=held_bytes)


def taken(size_bytes: int, holds: BlockClass, deed: int, address: int = 0, given: int | None = None) -> Block:
    return Block(size_bytes, holds, deed, given, given, address=address)


def step_of(*blocks: Block, device: str = "cuda", segments: tuple[AllocatorSegment, ...] = ()) -> CapturedStep:
    header = StepHeader("tiny", "test-gpu", device, {}, "2.11", "0", "0")
    deeds = [Deed(Doing.TAKE, n) for n, block in enumerate(blocks) if block.taken != BEFORE_STEP]
    nothing = Seen(0, 0, 0, 0, 0)
    return CapturedStep(header, nothing, HookCosts(0, 0, 0, 0), (), (), blocks, (), tuple(deeds), segments)


def test_a_step_on_a_gpu_begins_in_its_segments() -> None:
    """The held size is the snapshot's; a block of no bytes holds none."""
    step = step_of(
        there(4 * MIB, WEIGHT, BASE, held_bytes=5 * MIB),
        there(0, WEIGHT, 0),
        taken(100, GRADIENT, 0),
        segments=(AllocatorSegment(BASE, 20 * MIB, small=False),),
    )
    pool = pool_of(step, 100 * MIB)
    assert isinstance(pool, CachingPool)
    assert pool.live_blocks() == [(BASE, 5 * MIB)]
    assert pool.holes() == [(BASE + 5 * MIB, 15 * MIB)]
    assert (pool.capacity_bytes, pool.reserved_bytes) == (100 * MIB, 20 * MIB)
    assert addresses_of(step) == {"b0": BASE}


def test_a_block_that_lies_in_no_segment_finds_a_place_of_its_own() -> None:
    """Nobody knows where it was; the hole behind the other one is large enough."""
    step = step_of(
        there(4 * MIB, WEIGHT, BASE),
        there(2 * MIB, WEIGHT, 0),
        segments=(AllocatorSegment(BASE, 20 * MIB, small=False),),
    )
    memory = DeviceMemory(pool_of(step, 100 * MIB), addresses_of(step))
    assert addresses_of(step) == {"b0": BASE}
    assert [memory.set_up(buffer) for buffer in buffers_of(step)] == [BASE, BASE + 4 * MIB]


def test_without_segments_it_begins_empty() -> None:
    step = step_of(there(4 * MIB, WEIGHT, BASE))
    assert pool_of(step, MIB).reserved_bytes == 0
    assert addresses_of(step) == {}


def test_a_step_on_a_cpu_has_no_allocator() -> None:
    step = step_of(there(100, WEIGHT, BASE), device="cpu", segments=(AllocatorSegment(BASE, 2 * MIB, small=True),))
    assert isinstance(pool_of(step, 1000), PlainPool)
    assert addresses_of(step) == {}


def test_expandable_segments_are_told_as_not_modelled_and_the_step_begins_without_them() -> None:
    segments = (AllocatorSegment(BASE, 30 * MIB, small=True), AllocatorSegment(BASE + 40 * MIB, 14 * MIB, small=False))
    step = step_of(there(4 * MIB, WEIGHT, BASE), segments=segments)
    options = {"allocator": "max_split_size_mb:64,expandable_segments:True"}
    step = replace(step, header=replace(step.header, conditions=options))
    assert pool_of(step, 100 * MIB).reserved_bytes == 0
    assert addresses_of(step) == {}
    assert unmodelled_allocator(step.header) == (
        "the allocator's expandable_segments:True, max_split_size_mb are not modelled: what it gives and holds, "
        "and what fits, are those of an allocator without options"
    )
    assert unmodelled_allocator(step_of().header) == ""
    assert unmodelled_options("expandable_segments:False,backend:native") == ""


def test_segments_that_cannot_be_this_allocators_are_refused() -> None:
    step = step_of(segments=(AllocatorSegment(BASE, 30 * MIB, small=True),))
    with pytest.raises(InvalidInput, match="expandable segments and other options"):
        pool_of(step, MIB)


def test_gradients_at_one_address_belong_together_whatever_their_order() -> None:
    step = step_of(
        there(512, GRADIENT, BASE, given=0),
        there(512, GRADIENT, BASE + 512, given=1),
        taken(512, GRADIENT, 2, BASE),
        taken(512, GRADIENT, 3, BASE + 512),
    )
    assert successors_of(step) == {"b2": "b0", "b3": "b1"}


def test_of_gradients_elsewhere_the_last_taken_is_that_of_the_first_given_back() -> None:
    """Of the same size and class only; what is given back within the step leaves nothing behind."""
    step = step_of(
        there(512, GRADIENT, BASE, given=0),
        there(512, GRADIENT, BASE + 512, given=1),
        there(512, WEIGHT, BASE + 1024),
        there(1024, GRADIENT, BASE + 2048, given=2),
        taken(512, GRADIENT, 3),
        taken(512, GRADIENT, 4),
        taken(512, WEIGHT, 5),
        taken(1024, GRADIENT, 6, given=7),
    )
    assert successors_of(step) == {"b5": "b0", "b4": "b1"}


def test_the_peaks_of_a_step_that_is_trained_again_and_again() -> None:
    """Weights and gradients of 1 MiB each have small segments of their own, x the first 4 of 20 MiB, and y1 fits
    behind it; the workspace and the loss go behind weights. y2, y3 and the gradient of y3 have segments of their own,
    and their own size. The loss is dropped between steps."""
    step = three_layers()
    program = build_step(step, hook_schedule(step, ()))
    memory = steady_memory(program, DeviceMemory(pool_of(step, 2**40), addresses_of(step)), successors_of(step))
    needs = StepMemory(step.seen.peak_requested_bytes, step.seen.peak_requested_bytes, (32 + 16 + 32 + 32) * MIB, 0)
    assert memory == SteadyMemory((needs, needs), settled=True)


def test_a_step_begins_in_another_memory_than_it_was_captured_in() -> None:
    """The first two go by name, whatever their sizes say; of the others one is where it was, one at any of its size.
    The weight is 1 MiB in a hole of 20 there, and held as 2."""
    step = step_of(
        there(MIB, WEIGHT, BASE),
        there(MIB, GRADIENT, BASE + MIB, given=0),
        there(100, WEIGHT, 0x1000),
        there(100, WEIGHT, 0x2000),
        taken(MIB, GRADIENT, 0),
        segments=(AllocatorSegment(BASE, 20 * MIB, small=False),),
    )
    blocks = {BASE + 9 * MIB: (MIB, MIB), BASE: (MIB, 2 * MIB), 0x2000: (100, 512), 0x5000: (100, 512)}
    segments = (AllocatorSegment(BASE, 20 * MIB, small=False), AllocatorSegment(0, 2 * MIB, small=True))
    found = as_found(step, segments, blocks, [BASE, BASE, BASE + 9 * MIB])
    assert [block.address for block in found.blocks] == [BASE, BASE + 9 * MIB, 0x5000, 0x2000, 0]
    assert found.blocks[0].held_bytes == 2 * MIB
    assert found.segments == tuple(sorted(segments))
    assert as_found(step, segments, blocks, [BASE, 0x2000]) == step, "of another size than the gradient"
    assert as_found(step, segments, dict(list(blocks.items())[:3]), []) == step, "one is missing"
