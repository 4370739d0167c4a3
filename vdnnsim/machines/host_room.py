"""Room on the host: a pinned buffer for each map that leaves or is there already, taken before training, while the
budget lasts, and what goes on to NVMe, while that has room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vdnnsim.gpu import GpuProfile, Pinning
from vdnnsim.machines.device_memory import OutOfMemory
from vdnnsim.program import CopyOut, NvmeWrite, Program
from vdnnsim.units import format_bytes

_CLASS = "on the host"


class OutOfHostRoom(OutOfMemory):
    """A buffer that found no room on the host. ``args`` are as those of `OutOfMemory`, with what there is for the
    capacity, and behind them what the whole program needs."""

    on_device = False
    what = ""
    """What ended."""

    def __init__(
        self, where: str, buffer: str, requested_bytes: int, budget_bytes: int, taken_bytes: int, needed_bytes: int
    ) -> None:
        free_bytes = budget_bytes - taken_bytes
        super().__init__(where, buffer, requested_bytes, budget_bytes, {_CLASS: taken_bytes}, free_bytes, free_bytes)
        self.args = (where, buffer, requested_bytes, budget_bytes, taken_bytes, needed_bytes)

    @property
    def in_short(self) -> str:
        requested = format_bytes(self.requested_bytes)
        return f"out of {self.what} in {self.where}: no room for {requested} ({self.buffer})"

    @property
    def largest_hole_bytes(self) -> int:
        return self.free_bytes

    @property
    def free_bytes(self) -> int:
        return int(self.args[3]) - int(self.args[4])


class OutOfPinnedMemory(OutOfHostRoom):
    """What the host can pin has ended."""

    what = "pinned host memory"
    remedy = "pin more"

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


class OutOfNvme(OutOfHostRoom):
    """The drive is full."""

    what = "NVMe"
    remedy = "take a larger drive"

    def needs(self, needed_bytes: int) -> str:  # noqa: ARG002 - as above
        return f"needs {format_bytes(self.args[5])} of NVMe"

    def __str__(self) -> str:
        _, _, _, capacity, taken, needed = self.args
        return (
            f"{self.in_short}; of its {format_bytes(capacity)} {format_bytes(taken)} are taken; "
            f"all of it needs {format_bytes(needed)} ({needed} bytes)"
        )


def no_host_room(program: Program, gpu: GpuProfile) -> OutOfHostRoom | None:
    """What finds no room on the host of this GPU, if anything does. Raises `InvalidInput` for a program that uses NVMe
    where there is none."""
    return _not_pinned(program, gpu.host.pinning) or (_not_on_nvme(program, gpu) if program.staging else None)


def _not_pinned(program: Program, pinning: Pinning) -> OutOfPinnedMemory | None:
    sizes = program.pinned_sizes_bytes
    if pinning.budget_bytes is None or not sizes:
        return None
    titles = {buffer.name: "set-up" for buffer in program.offloaded if buffer.name in program.on_host}
    for title, command in _commands(program):
        if isinstance(command, CopyOut):
            titles.setdefault(program.host_buffer(command.buffer.name), title)
    blocks = (_Block(title, name, pinning.block_bytes(sizes[name])) for name, title in titles.items())
    over = _first_over(blocks, pinning.budget_bytes)
    return OutOfPinnedMemory(*over, pinning.taken_bytes(sizes.values())) if over else None


def _not_on_nvme(program: Program, gpu: GpuProfile) -> OutOfNvme | None:
    capacity_bytes = gpu.drive().capacity_bytes
    if capacity_bytes is None:
        return None
    writes = ((title, command) for title, command in _commands(program) if isinstance(command, NvmeWrite))
    blocks = (_Block(title, write.buffer.name, program.wire_bytes(write.buffer)) for title, write in writes)
    over = _first_over(blocks, capacity_bytes)
    return OutOfNvme(*over, program.nvme_bytes) if over else None


class _Block(NamedTuple):
    where: str
    buffer: str
    size_bytes: int


def _first_over(blocks: Iterable[_Block], limit_bytes: int) -> tuple[str, str, int, int, int] | None:
    """The first block that finds no room in so many bytes, with them and what the blocks before it take."""
    taken = 0
    for block in blocks:
        if taken + block.size_bytes > limit_bytes:
            return *block, limit_bytes, taken
        taken += block.size_bytes
    return None


def _commands(program: Program) -> Iterable[tuple[str, object]]:
    for step in program.steps:
        for command in program.commands[step.first : step.last]:
            yield step.title, command
