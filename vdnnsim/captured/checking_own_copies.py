"""The checking mode of programs in which saved tensors of a captured step are copied each by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.checking import StepChecker
from vdnnsim.captured.nodes import node_ends
from vdnnsim.captured.own_copies import GATHERED
from vdnnsim.captured.saved import saved_name
from vdnnsim.captured.step import CapturedStep, Doing
from vdnnsim.iteration import Buffer
from vdnnsim.machines.checking import CheckedBlock
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.program import CopyIn, Kernel, Piece, Program, Stream


class OwnCopiesChecker(StepChecker):
    """What comes back lies in memory of the copies' own, as PyTorch's allocator keeps it for each stream; kernels use
    it until the node ends that needs it."""

    def __init__(self, step: CapturedStep, program: Program, memory: DeviceMemory) -> None:
        self.apart = DeviceMemory(type(memory.pool)(memory.pool.capacity_bytes)), list[CheckedBlock]()
        self.numbers = {saved_name(number): number for number in range(len(step.saved))}
        self.back = {command.buffer.name for command in program.commands if isinstance(command, CopyIn)}
        launched = list(accumulate(deed.doing is Doing.LAUNCH for deed in step.deeds))
        needs = ((saved_name(step.deeds[need].number), end) for need, end in node_ends(step).items())
        self.used_until = {name: launched[end] for name, end in needs}
        """How many kernels there are when the last node ends that needs a tensor."""
        super().__init__(step, program, memory)

    @contextmanager
    def memory_of(self, buffer: Buffer) -> Iterator[None]:
        """In whose memory this one lies."""
        if buffer.name.removesuffix(GATHERED) not in self.numbers:
            yield
            return
        here = self.memory, self.freed
        self.memory, self.freed = self.apart
        yield
        self.apart = self.memory, self.freed
        self.memory, self.freed = here

    def needed_in(self, number: int) -> str:
        """Where a saved tensor is that is needed."""
        name = saved_name(number)
        return name if name in self.back else super().needed_in(number)

    def kernel(self, kernel: Kernel) -> None:
        """As any, but for what came back for nodes that have ended."""
        given = self.last_kernel.piece.number if self.last_kernel else 0
        self.shared = {name for name in self.shared if given < self.used_until.get(name, given + 1)}
        super().kernel(kernel)

    def copy_out(self, buffer: Buffer) -> None:
        """It reads the tensor's block, and writes that in which it is gathered."""
        saved = self.step.saved[self.numbers[buffer.name]]
        block = self.block(block_name(saved.block), "a copy out")
        self.used_by_kernels(block)
        self.shared.add(block.name)
        given = self.give(f"the copy out of {buffer.name}", Stream.COPY_OUT)
        self.touch(block, given)
        self.on_host[buffer.name] = CheckedBlock(buffer.name, 0, 0, buffer.name)
        self.touch(self.on_host[buffer.name], given._replace(writes=True))
        if gathered := self.live.get(buffer.name + GATHERED):
            self.touch(gathered, given._replace(writes=True))

    def writes(self, name: str) -> bool:
        """Kernels write nothing that is saved."""
        return name not in self.is_saved

    def used_by_kernels(self, block: CheckedBlock) -> None:
        """Any so far may have used it; what came back, none behind its node."""
        super().used_by_kernels(block)
        use = block.uses.get((Stream.COMPUTE, True))
        if use and block.name in self.used_until:
            last = Piece(Stream.COMPUTE, min(use.piece.number, self.used_until[block.name]))
            block.uses[Stream.COMPUTE, True] = use._replace(piece=last)
