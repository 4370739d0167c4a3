"""Whether a plan's file can be carried out: what leaves is saved before, and is back before it is needed.

Training takes its numbers as they are; copies in another order would bring back other bytes, and nobody would notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vdnnsim.captured.plan_file import LeavingBlock


class Misplaced(NamedTuple):
    """A number of a plan's file that cannot be: where it stands, and what should be there."""

    place: str
    found: int
    expected: str


def misplaced(leaving: Iterable[LeavingBlock], hook_runs: Sequence[int]) -> Iterator[Misplaced]:
    """The first such number of each block that leaves."""
    seen: set[int] = set()
    for row, block in enumerate(leaving):
        if fault := _first(block, hook_runs, seen):
            field, found, expected = fault
            yield Misplaced(f"leaving[{row}].{field}", found, expected)
        seen.update(view.number for view in block.saved)


def _first(block: LeavingBlock, runs: Sequence[int], seen: set[int]) -> tuple[str, int, str] | None:
    numbers = [view.number for view in block.saved]
    last_save = _stage_of_save(max(numbers), runs)
    if twice := seen.intersection(numbers):
        return "saved", min(twice), "each saved tensor in one block"
    if last_save is None:
        return "saved", max(numbers), "a number of one of the step's saved tensors, as hook_runs counts them"
    if block.out != last_save:
        return "out", block.out, f"{last_save}, the call in which the last of it is saved"
    if block.freed < block.out:
        return "freed", block.freed, f"{block.out} (out) or more"
    if block.back <= block.freed or not _is_need(block.back, runs):
        return "back", block.back, f"a call of the unpack hook behind {block.freed} (freed)"
    if block.needed < block.back or not _is_need(block.needed, runs):
        return "needed", block.needed, f"{block.back} (back), or a call of the unpack hook behind it"
    return None


def _stage_of_save(number: int, runs: Sequence[int]) -> int | None:
    """The hook call that saves this tensor; runs are of saves and of needs by turns."""
    before = 0
    for turn, length in enumerate(runs):
        if turn % 2 == 0:
            if number < length:
                return before + number + 1
            number -= length
        before += length
    return None


def _is_need(stage: int, runs: Sequence[int]) -> bool:
    for turn, length in enumerate(runs):
        if stage <= length:
            return turn % 2 == 1
        stage -= length
    return False
