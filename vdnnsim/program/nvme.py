"""Tensors that go on to NVMe: a program of copies, with the writes and reads behind them.

What leaves for NVMe is copied out into a staging buffer of the host, of which there are two, and written from there; it
is read back into that buffer, behind the last kernel given before its copy in, and copied in. A staging buffer is used
again when what used it before is done: a copy out waits for the write of the one before the last, a read for whatever
was there. So the host's memory holds two tensors, however many are on the drive, and a drive slower than the link makes
copies out late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from vdnnsim.iteration import BrokenSchedule, Leave, Schedule
from vdnnsim.program.commands import Command, CopyIn, CopyOut, NvmeRead, NvmeWrite, Piece, Program, Stream
from vdnnsim.program.rewriting import Rewriting

STAGING_BUFFERS = 2
_SAME: Mapping[str, str] = MappingProxyType({})


def by_nvme(program: Program, schedule: Schedule, back: Mapping[str, str] = _SAME) -> Program:
    """The program with what its schedule says goes on to NVMe; `back` are other names by which tensors come back.
    Raises `BrokenSchedule` for one that does not leave."""
    for name in sorted(schedule.nvme):
        action = schedule.actions.get(name)
        if not isinstance(action, Leave) or action.out is None:
            raise BrokenSchedule(name, "set-up", "a tensor on NVMe that is not copied out", "one that leaves")
    building = _Building(schedule.nvme, back)
    steps = building.steps_of(program)
    return replace(program, commands=tuple(building.commands), steps=tuple(steps), staging=building.staging)


class _Building(Rewriting):
    """The commands so far, and what used each staging buffer last."""

    def __init__(self, names: frozenset[str], back: Mapping[str, str]) -> None:
        super().__init__()
        self.tensor_of = {name: name for name in names} | {other: of for other, of in back.items() if of in names}
        self.staging: dict[str, str] = {}
        self.used: dict[str, Piece] = {}
        self.written: dict[str, Piece] = {}
        self.last_kernel: Piece | None = None

    def follow(self, command: Command) -> None:
        """The next command of the program, with what belongs to it."""
        if isinstance(command, CopyOut) and command.buffer.name in self.tensor_of:
            self._out(command)
        elif isinstance(command, CopyIn) and command.buffer.name in self.tensor_of:
            self._back(command)
        else:
            piece = self.give(command)
            if piece and piece.stream is Stream.COMPUTE:
                self.last_kernel = piece

    def _out(self, command: CopyOut) -> None:
        name = command.buffer.name
        place = self.staging[name] = f"staging {len(self.written) % STAGING_BUFFERS}"
        self.behind(self.used.get(place), Stream.COPY_OUT)
        self.behind(self.give(command), Stream.NVME_WRITE)
        self.used[place] = self.written[name] = self.work(NvmeWrite(command.buffer))

    def _back(self, command: CopyIn) -> None:
        name = self.tensor_of[command.buffer.name]
        place = self.staging[command.buffer.name] = self.staging[name]
        for piece in (self.written[name], self.used[place], self.last_kernel):
            self.behind(piece, Stream.NVME_READ)
        self.behind(self.work(NvmeRead(command.buffer._replace(name=name))), Stream.COPY_IN)
        self.used[place] = self.work(command)
