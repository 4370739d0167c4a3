"""Pinned memory of the host: a buffer for each map that leaves, taken before training, while the budget lasts."""

from __future__ import annotations

from vdnnsim.gpu import Pinning
from vdnnsim.machines.device_memory import OutOfMemory
from vdnnsim.program import CopyOut, Program
from vdnnsim.units import format_bytes

_CLASS = "pinned"


class OutOfPinnedMemory(OutOfMemory):
    """A buffer of the host that found no room in what can be pinned. ``args`` are as those of `OutOfMemory`, with the
    budget for the capacity, and behind them what the whole program needs."""

    on_device = False

    def __init__(
        self, where: str, buffer: str, requested_bytes: int, budget_bytes: int, taken_bytes: int, needed_bytes: int
    ) -> None:
        free_bytes = budget_bytes - taken_bytes
        super().__init__(where, buffer, requested_bytes, budget_bytes, {_CLASS: taken_bytes}, free_bytes, free_bytes)
        self.args = (where, buffer, requested_bytes, budget_bytes, taken_bytes, needed_bytes)

    @property
    def in_short(self) -> str:
        requested = format_bytes(self.requested_bytes)
        return f"out of pinned host memory in {self.where}: no room for {requested} ({self.buffer})"

    @property
    def largest_hole_bytes(self) -> int:
        return self.free_bytes

    @property
    def free_bytes(self) -> int:
        return int(self.args[3]) - int(self.args[4])

    def needs(self, needed_bytes: int) -> str:  # noqa: ARG002 - of the GPU's memory there is enough
        return f"needs {format_bytes(self.args[5])} pinned"

    def __str__(self) -> str:
        _, _, _, budget, taken, needed = self.args
        if not budget:
            return f"{self.in_short}; the host cannot pin, and all of it needs {format_bytes(needed)}"
        return (
            f"{self.in_short}; of the {format_bytes(budget)} that can be pinned {format_bytes(taken)} are taken; "
            f"all of it needs {format_bytes(needed)} ({needed} bytes)"
        )


def pinned_failure(program: Program, pinning: Pinning) -> OutOfPinnedMemory | None:
    """The first copy out whose buffer finds no room in what the host can pin, if there is one."""
    if pinning.budget_bytes is None:
        return None
    sizes = program.pinned_sizes_bytes
    taken = 0
    for step in program.steps:
        for command in program.commands[step.first : step.last]:
            if isinstance(command, CopyOut):
                block_bytes = pinning.block_bytes(sizes[command.buffer.name])
                if taken + block_bytes > pinning.budget_bytes:
                    needed = pinning.taken_bytes(sizes.values())
                    name = command.buffer.name
                    return OutOfPinnedMemory(step.title, name, block_bytes, pinning.budget_bytes, taken, needed)
                taken += block_bytes
    return None
