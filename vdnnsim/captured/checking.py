"""Whether a program of a captured step is right on any machine: the checking mode, for what a capture knows.

Which kernel uses which block was not captured. So each kernel may use every block that is there, and write it where
nothing that is saved lies in it: all of it until it is saved, none of it afterwards, and of a block that comes back
only from its first need on. What is needed must be there then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vdnnsim.captured.agenda import HOOK, block_name
from vdnnsim.captured.step import CapturedStep, Doing
from vdnnsim.iteration import Buffer
from vdnnsim.machines.checking import CheckedBlock, ProgramChecker, Use
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.program import Allocate, Command, CopyIn, Free, HostCall, Kernel, Program, Stream

BACK = " back"
"""Ends the name of a block into which a tensor comes back while others still hold the one that it left."""


def check_step_program(step: CapturedStep, program: Program, memory: DeviceMemory) -> None:
    """Raises `BrokenProgram` for a program of this step in which blocks, in this empty memory, are used out of order or
    when they are not there; `OutOfMemory` where it does not fit."""
    from vdnnsim.captured.checking_own_copies import OwnCopiesChecker  # which knows this module

    blocks = {block_name(number) for number in range(len(step.blocks))}
    own = not blocks.issuperset(buffer.name for buffer in program.offloaded)
    (OwnCopiesChecker if own else StepChecker)(step, program, memory).check()


class StepChecker(ProgramChecker):
    """Follows the program of a step."""

    def __init__(self, step: CapturedStep, program: Program, memory: DeviceMemory) -> None:
        self.step = step
        self.calls = iter([step.deeds[call] for call in step.hook_calls])
        self.tensors = {block_name(saved.block) for saved in step.saved}
        self.awaits = ""
        """What the hook call under way needs."""
        self.last_kernel: Use | None = None
        self.is_saved: set[str] = set()
        self.is_needed: set[str] = set()
        self.shared: set[str] = set()
        """The live blocks that copies touch, or whose bytes others used before."""
        super().__init__(program, memory)

    def is_given(self, buffer: Buffer) -> bool:
        return buffer.name in self.live

    def check(self) -> None:
        super().check()
        self._check_needed()

    @contextmanager
    def memory_of(self, _buffer: Buffer) -> Iterator[None]:
        """While this lasts, `memory` and `freed` are those of the buffer."""
        yield

    def follow(self, command: Command) -> None:
        """As any program's; and what is needed is there when the host goes on."""
        if isinstance(command, Free) and (block := self.live.get(command.buffer.name)):
            if command.buffer.name.removesuffix(BACK) == self.awaits:
                self._check_needed()
            self.used_by_kernels(block)
            self.shared.discard(command.buffer.name)
        elif command == HostCall(HOOK):
            self._check_needed()
            self._hook_call()
        if isinstance(command, (Allocate, Free)):
            with self.memory_of(command.buffer):
                super().follow(command)
        else:
            super().follow(command)
        if isinstance(command, Allocate) and self.live[command.buffer.name].before:
            self.shared.add(command.buffer.name)

    def _hook_call(self) -> None:
        doing, number = next(self.calls)
        if doing is Doing.SAVE:
            self.is_saved.add(block_name(self.step.saved[number].block))
        else:
            self.awaits = self.needed_in(number)
            self.is_needed.add(self.awaits)

    def needed_in(self, number: int) -> str:
        """What must be there when this saved tensor is needed."""
        return block_name(self.step.saved[number].block)

    def kernel(self, kernel: Kernel) -> None:
        if not kernel.again:  # else the hook call is still under way
            self._check_needed()
        self.last_kernel = given = self.give(f"{kernel.layer} {kernel.pass_}", Stream.COMPUTE)
        for name in sorted(self.shared):
            tensor = name.removesuffix(BACK)
            if tensor not in self.on_host:
                self.touch(self.live[name], given._replace(writes=self.writes(name)))
            elif tensor in self.is_needed or not self._came_back(name):
                self.touch(self.live[name], given._replace(writes=tensor not in self.is_saved))

    def writes(self, _name: str) -> bool:
        """Whether kernels may write a block that does not leave."""
        return True

    def _check_needed(self) -> None:
        """What the last hook call needs is there, when the host goes on."""
        name, self.awaits = self.awaits, ""
        if not name:
            return
        into = name + BACK if name + BACK in self.live else name
        self.block(into, f"hook call of {name}")
        if name in self.on_host and not self._came_back(into):
            raise self.wrong(f"{name} is needed, which is not back")

    def _came_back(self, name: str) -> bool:
        return any(stream is Stream.COPY_IN for stream, _ in self.live[name].uses)

    def copy_out(self, buffer: Buffer) -> None:
        block = self.block(buffer.name, "a copy out")
        self.used_by_kernels(block)
        block.holds = buffer.name
        if buffer.name not in self.tensors:
            self.is_saved.add(buffer.name)  # a gradient, which is complete
        self.shared.add(buffer.name)
        super().copy_out(buffer)

    def copy_in(self, command: CopyIn) -> None:
        self.bring_back(command.buffer.name.removesuffix(BACK), command.buffer.name)
        self.shared.add(command.buffer.name)

    def used_by_kernels(self, block: CheckedBlock) -> None:
        """Any kernel so far may have used it; what came back, only since its need."""
        if self.last_kernel and (block.name.removesuffix(BACK) in self.is_needed or not self._came_back(block.name)):
            block.uses[Stream.COMPUTE, True] = self.last_kernel._replace(writes=True)
