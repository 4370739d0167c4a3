"""What a runtime does at each hook call of a plan: sorted once, the same for programs and for real training.

A schedule's stages are hook calls here (`CapturedStep.hook_calls`): stage n begins with the n-th.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vdnnsim.iteration import Leave

HOOK = "hook"
"""What the host does at each hook call, also where nothing leaves; the others are what it does besides, each time. A
copy's own includes that it waits, on its stream, for kernels and for the copy before it."""
HOOK_COPY_OUT = "hook copy out"
HOOK_COPY_IN = "hook copy in"
HOOK_STREAM_WAIT = "hook stream wait"
WAITED_COPY = "hook waited copy"
"""In place of a copy out, where the host stands until it is done."""
STEP_BEGINS, STEP_ENDS = "step behind a wait begins", "step behind a wait ends"
"""What the host does besides, once, in a step with hooks."""


def unpinned_copy(size_bytes: int) -> str:
    """What the host does besides for a waited copy of bytes that are not in a row."""
    return f"unpinned copy of {size_bytes} B"


class HookDeeds(NamedTuple):
    """Blocks by number, in the order in which one hook call deals with them: its own block is fetched now
    (`fetched`), the compute stream waits for its copy in (`awaited`); its own copy out begins (`out`); the compute
    stream waits for the copies out of others and they are let go (`dropped`); copies in for later calls begin
    (`back`)."""

    fetched: tuple[int, ...] = ()
    awaited: tuple[int, ...] = ()
    out: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    back: tuple[int, ...] = ()


NOTHING = HookDeeds()


def block_name(number: int) -> str:
    """What schedules and programs call `blocks[number]`."""
    return f"b{number}"


def agenda_of(leaves: Mapping[int, Leave]) -> dict[int, HookDeeds]:
    """By stage what is done there, where something is; blocks that leave are given by their numbers."""
    found: dict[int, tuple[list[int], list[int], list[int], list[int], list[int]]] = {}

    def at(stage: int) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
        return found.setdefault(stage, ([], [], [], [], []))

    for number, leave in leaves.items():
        if leave.out is not None:
            at(leave.out)[2].append(number)
        at(leave.freed)[3].append(number)
        at(leave.back)[0 if leave.back == leave.needed else 4].append(number)
        at(leave.needed)[1].append(number)
    for _, _, _, dropped, back in found.values():
        dropped.sort()
        back.sort(key=lambda number: (leaves[number].needed, number))
    return {stage: HookDeeds(*map(tuple, deeds)) for stage, deeds in sorted(found.items())}
