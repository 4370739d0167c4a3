"""The checking mode: whether a program is right on any machine, however long its kernels and copies take.

It follows the program with no clock. A kernel or copy is *ordered after* another one if it was given to the same stream
later, or if the host, before it gave it, or its stream waited for the other, or for what waited for it
(`vdnnsim.program.Order`). Whatever touches a block must be ordered after
whatever touched its bytes before, in this buffer or in one freed since, unless both only read; and what a kernel reads
must lie there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import NamedTuple

from vdnnsim.errors import VdnnsimError
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.network import DATA, Network, map_operand, weight_gradient_operand
from vdnnsim.program import (
    Allocate,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    Kernel,
    MemoryClass,
    NotGiven,
    NvmeRead,
    NvmeWrite,
    Order,
    Piece,
    Program,
    Stream,
    operands_of,
)
from vdnnsim.program.order import follow


class BrokenProgram(VdnnsimError):  # noqa: N818 - reads as what it is
    """A program that may compute something wrong; ``args`` is (where: the step, what is wrong)."""

    def __str__(self) -> str:
        where, wrong = self.args
        return f"program, {where}: {wrong}"


class Use(NamedTuple):
    """What a kernel or copy does with a block."""

    what: str
    piece: Piece
    writes: bool


@dataclass
class CheckedBlock:
    """Bytes from `begin` to `end`, what lies in them, and who touched them: of each stream the last that read and the
    last that wrote, which came after all others of theirs. `before` is the same of buffers freed since."""

    name: str
    begin: int
    end: int
    holds: str = ""
    uses: dict[tuple[Stream, bool], Use] = field(default_factory=dict)
    before: list[Use] = field(default_factory=list)

    def overlaps(self, other: CheckedBlock) -> bool:
        return self.begin < other.end and other.begin < self.end

    def contains(self, other: CheckedBlock) -> bool:
        return self.begin <= other.begin and other.end <= self.end

    def last_uses(self) -> list[Use]:
        """The last use of each stream, of this buffer or of those before it."""
        last: dict[Stream, Use] = {}
        for use in (*self.before, *self.uses.values()):
            stream = use.piece.stream
            if stream not in last or use.piece.number > last[stream].piece.number:
                last[stream] = use
        return list(last.values())


def check_program(network: Network, program: Program, memory: DeviceMemory) -> None:
    """Raises `BrokenProgram` for a program of this network whose blocks, in this empty memory, are used out of order,
    read before they are written, or used when they are not there, and for one that waits for what comes later;
    `OutOfMemory` where it does not fit."""
    _NetworkChecker(network, program, memory).check()


class ProgramChecker(ABC):
    """Follows a program; what kernels do with blocks is for each world to say. A block `holds` the operand that lies in
    it, "" where nothing does."""

    def __init__(self, program: Program, memory: DeviceMemory) -> None:
        self.program = program
        self.memory = memory
        self.where = "set-up"
        self.order = Order()
        self.live: dict[str, CheckedBlock] = {}
        self.freed: list[CheckedBlock] = []
        self.on_host = {name: CheckedBlock(name, 0, 0, name) for name in program.on_host}
        self.on_nvme: dict[str, CheckedBlock] = {}
        self.stale: set[str] = set()
        """What was written since the host got it."""
        for buffer in program.setup:
            self.allocate(buffer)
            if self.is_given(buffer):
                self.live[buffer.name].holds = buffer.name

    @abstractmethod
    def is_given(self, buffer: Buffer) -> bool:
        """Whether a block of the set-up holds its values when the iteration begins."""

    @abstractmethod
    def kernel(self, kernel: Kernel) -> None:
        """`give` it, and `touch` the blocks that it reads and writes."""

    def check(self) -> None:
        """The whole program."""
        for step in self.program.steps:
            self.where = step.title
            for command in self.program.commands[step.first : step.last]:
                self.follow(command)

    def follow(self, command: Command) -> None:
        if isinstance(command, Allocate):
            self.allocate(command.buffer)
        elif isinstance(command, Free):
            block = self.block(command.buffer.name, "a free")
            self.memory.free(command.buffer)
            del self.live[command.buffer.name]
            if block.begin < block.end:
                self.freed.append(CheckedBlock(block.name, block.begin, block.end, before=block.last_uses()))
        elif isinstance(command, Kernel):
            self.kernel(command)
        elif isinstance(command, CopyOut):
            self.copy_out(command.buffer)
        elif isinstance(command, CopyIn):
            self.copy_in(command)
        elif isinstance(command, NvmeWrite):
            self._write(command.buffer.name)
        elif isinstance(command, NvmeRead):
            self._read(command.buffer.name)
        else:
            try:
                follow(self.order, command)
            except NotGiven as error:
                raise self.wrong(str(error)) from error

    def wrong(self, what: str) -> BrokenProgram:
        return BrokenProgram(self.where, what)

    def allocate(self, buffer: Buffer) -> None:
        if buffer.name in self.live:
            raise self.wrong(f"{buffer.name} is allocated though it is there already")
        begin = self.memory.allocate(buffer, self.where)
        block = CheckedBlock(buffer.name, begin, begin + buffer.size_bytes)
        self.freed = [old for old in self.freed if not all(self.order.known(use.piece) for use in old.before)]
        block.before = [use for old in self.freed if old.overlaps(block) for use in old.before]
        self.freed = [old for old in self.freed if not block.contains(old)]
        self.live[buffer.name] = block

    def block(self, name: str, user: str) -> CheckedBlock:
        if name not in self.live:
            raise self.wrong(f"{user} needs {name}, which is not there")
        return self.live[name]

    def give(self, what: str, stream: Stream) -> Use:
        return Use(what, self.order.give(stream), writes=False)

    def touch(self, block: CheckedBlock, use: Use) -> None:
        """Everything that touched these bytes before must be known to be done when this begins."""
        before = [other for other in block.uses.values() if other.writes or use.writes]
        for other in (*before, *block.before):
            if not self.order.ordered(other.piece, use.piece.stream):
                raise self.wrong(
                    f"{use.what} touches {block.name} while {other.what} may still be under way there; expected a "
                    f"wait for {other.piece.stream} between them"
                )
        block.uses[use.piece.stream, use.writes] = use

    def copy_out(self, buffer: Buffer) -> None:
        given = self.give(f"the copy out of {buffer.name}", Stream.COPY_OUT)
        block = self.block(buffer.name, given.what)
        if block.holds != buffer.name:
            raise self.wrong(f"{given.what} finds {block.holds or 'nothing yet'} there")
        self.touch(block, given)
        host = self._host_block(buffer.name)
        self.touch(host, given._replace(writes=True))
        host.holds = buffer.name
        self.stale.discard(buffer.name)

    def _host_block(self, name: str) -> CheckedBlock:
        """The host's buffer for it, which it may share with others."""
        if name not in self.on_host:
            place = self.program.host_buffer(name)
            shared = (
                self.on_host[other]
                for other, its in self.program.staging.items()
                if its == place and other in self.on_host
            )
            self.on_host[name] = next(shared, None) or CheckedBlock(place, 0, 0)
        return self.on_host[name]

    def _write(self, name: str) -> None:
        given = self.give(f"the write of {name}", Stream.NVME_WRITE)
        self._check_holds(self._host_block(name), name, given.what)
        self.touch(self._host_block(name), given)
        self.touch(self.on_nvme.setdefault(name, CheckedBlock(name, 0, 0)), given._replace(writes=True))

    def _read(self, name: str) -> None:
        given = self.give(f"the read of {name}", Stream.NVME_READ)
        if name not in self.on_nvme:
            raise self.wrong(f"{given.what} brings back what was never written")
        self.touch(self.on_nvme[name], given)
        self.touch(self._host_block(name), given._replace(writes=True))
        self._host_block(name).holds = name

    def _check_holds(self, block: CheckedBlock, name: str, user: str) -> None:
        if block.holds != name:
            raise self.wrong(f"{user} finds {block.holds or 'nothing yet'} in {block.name} of the host")

    def copy_in(self, command: CopyIn) -> None:
        self.bring_back(command.buffer.name, command.buffer.name)

    def bring_back(self, name: str, into: str) -> None:
        """The bytes of this block, from the host into one that may have another name."""
        given = self.give(f"the copy in of {name}", Stream.COPY_IN)
        if name not in self.on_host:
            raise self.wrong(f"{given.what} brings back what was never copied out")
        if name in self.stale:
            raise self.wrong(f"{given.what} brings back what was written again after it was copied out")
        self._check_holds(self.on_host[name], name, given.what)
        self.touch(self.on_host[name], given)
        block = self.block(into, given.what)
        self.touch(block, given._replace(writes=True))
        block.holds = name


class _NetworkChecker(ProgramChecker):
    def __init__(self, network: Network, program: Program, memory: DeviceMemory) -> None:
        self.network = network
        super().__init__(program, memory)

    def is_given(self, buffer: Buffer) -> bool:
        return buffer.memory_class is MemoryClass.WEIGHTS or buffer.name == map_operand(DATA)

    def kernel(self, kernel: Kernel) -> None:
        given = self.give(f"{kernel.layer} {kernel.pass_}", Stream.COMPUTE)
        operands = operands_of(self.network, kernel)
        uncounted = weight_gradient_operand(kernel.layer)  # weight gradients may be left out of the account
        for operand in sorted(operands.reads):
            block = self.block(self.program.operands.get(operand, operand), given.what)
            if block.holds != operand:
                raise self.wrong(f"{given.what} reads {operand}, but there lies {block.holds or 'nothing yet'}")
        for operand in sorted(operands.reads | operands.writes):
            if operand in self.program.operands or operand != uncounted:
                block = self.block(self.program.operands.get(operand, operand), given.what)
                self.touch(block, given._replace(writes=operand in operands.writes))
                block.holds = operand
                if operand in operands.writes:
                    self.stale.add(operand)
        if kernel.workspace is not None:
            self.touch(self.block(kernel.workspace.name, given.what), given._replace(writes=True))
