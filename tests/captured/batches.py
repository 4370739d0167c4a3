"""The step of three layers at other batches: maps grow with the batch, kernels with it and a start."""

from __future__ import annotations

from dataclasses import replace

from captured.steps import HEADER, three_layers
from vdnnsim.captured import Block, BlockClass, CapturedStep, Seen

GROWS = {BlockClass.INPUT, BlockClass.SAVED, BlockClass.WORKSPACE}


def of_batch(batch: int, start_ns: int = 20_000, bend_ns: int = 0) -> CapturedStep:
    """Batch 4 is `three_layers`, but for where its blocks lie; kernels take `start_ns` and 20 us a sample, and so much
    more a sample squared."""
    step = three_layers()

    def sized(number: int, block: Block) -> Block:
        grows = block.holds in GROWS or number in (12, 13, 14)
        return block._replace(size_bytes=block.size_bytes // 4 * batch if grows else block.size_bytes)

    duration_ns = start_ns + 20_000 * batch + bend_ns * batch * batch
    return replace(
        step,
        header=replace(HEADER, setting={"batch": batch}),
        seen=Seen(1_000_000 * batch, 5_000, batch, batch, batch),
        kernels=tuple(kernel._replace(duration_ns=duration_ns) for kernel in step.kernels),
        blocks=tuple(sized(number, block) for number, block in enumerate(step.blocks)),
        saved=tuple(
            saved._replace(shape=(step.blocks[saved.block].size_bytes // 16 * batch,))
            if step.blocks[saved.block].holds in GROWS
            else saved
            for saved in step.saved
        ),
        segments=() if batch != 4 else step.segments,
    )


def of_length(tokens: int) -> CapturedStep:
    """The same of batch 4 by the length of a sequence: one of 16 is a sample of `of_batch`."""
    return replace(of_batch(tokens // 16), header=replace(HEADER, setting={"batch": 4, "tokens": tokens}))
