"""The most memory in use at once in a captured step, added up deed by deed."""

from __future__ import annotations

from collections.abc import Callable

from vdnnsim.captured.step import BEFORE_STEP, Block, CapturedStep, Doing


def peak_bytes(step: CapturedStep, death: Callable[[Block], int | None]) -> int:
    """The most at once when each block dies behind the deed that `death` says."""
    dying: dict[int, int] = {}
    for block in step.blocks:
        if (end := death(block)) is not None:
            dying[end] = dying.get(end, 0) + block.size_bytes
    now = sum(block.size_bytes for block in step.blocks if block.taken == BEFORE_STEP)
    most, now = now, now - dying.get(BEFORE_STEP, 0)
    for number, deed in enumerate(step.deeds):
        if deed.doing is Doing.TAKE:
            now += step.blocks[deed.number].size_bytes
            most = max(most, now)
        now -= dying.get(number, 0)
    return most
