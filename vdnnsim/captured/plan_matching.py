"""What tells a plan's step from another one, in words: the first parameter, or saved tensor, that is another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import NamedTuple

from vdnnsim.captured.step import BEFORE_STEP, BlockClass, CapturedStep


class SavedView(NamedTuple):
    """A saved tensor by its number, with its type and how it lies in its block, as `SavedTensor` has them."""

    number: int
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset_bytes: int

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}, strides {list(self.stride)}, from byte {self.offset_bytes}"


class Held(NamedTuple):
    """A parameter or buffer: what it is called, and the bytes of its storage."""

    name: str
    size_bytes: int


def held_of(step: CapturedStep) -> tuple[Held, ...]:
    """Parameters and buffers of a step, in the order in which the model has them; a storage that several share is one.
    Their names were not captured."""
    blocks = (one for one in step.blocks if one.taken == BEFORE_STEP and one.holds is BlockClass.PARAMETER)
    return tuple(Held(f"parameter or buffer {number}", one.size_bytes) for number, one in enumerate(blocks))


def views_of(step: CapturedStep) -> list[SavedView]:
    """The saved tensors of a step, in order."""
    return [SavedView(n, one.dtype, one.shape, one.stride, one.offset_bytes) for n, one in enumerate(step.saved)]


def other_held(found: Sequence[Held], expected_bytes: Sequence[int]) -> str:
    """The first parameter or buffer of another size than a plan's; "" where none is, or the plan does not say."""
    if not expected_bytes or not found:
        return ""
    for one, size_bytes in zip_longest(found, expected_bytes):
        if one is None:
            return f"found {len(found)} parameters and buffers, expected {len(expected_bytes)}"
        if size_bytes is None:
            return f"found {one.name}, expected no more than {len(expected_bytes)} parameters and buffers"
        if one.size_bytes != size_bytes:
            return f"found {one.name} of {one.size_bytes} bytes, expected {size_bytes}"
    return ""


def other_saved(found: Sequence[SavedView], expected: Iterable[SavedView]) -> str:
    """The first saved tensor that is another one than a plan has; "" where all that it has are the same."""
    for one in sorted(expected):
        if one.number >= len(found):
            return f"found {len(found)}, expected {one.number + 1} or more"
        if (other := found[one.number]) != one:
            return f"found number {one.number} to be {other}, expected {one}"
    return ""
