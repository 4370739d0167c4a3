"""The blocks of a captured step, added up, are what the profiler itself saw in use, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from support.torch_models import MODELS
from vdnnsim.captured import check_step
from vdnnsim.captured.step import BEFORE_STEP, Block, CapturedStep, Doing
from vdnnsim.pytorch import capture


@cache
def captured(name: str) -> CapturedStep:
    return capture(*MODELS[name](), name=name, smallest_bytes=0)


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


@pytest.mark.parametrize("name", MODELS)
def test_the_peak_is_the_profilers_to_the_byte(name: str) -> None:
    step = captured(name)
    assert peak_bytes(step, lambda block: block.given) == step.seen.peak_requested_bytes


@pytest.mark.parametrize("name", MODELS)
def test_the_records_speak_of_each_other_rightly(name: str) -> None:
    check_step(captured(name))
