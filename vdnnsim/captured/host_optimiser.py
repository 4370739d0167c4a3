"""A captured step whose optimiser the host runs: gradients go there, parameters come back, the state never was here.

Of the captured program everything of the optimiser is left out: its kernels, the blocks that it takes, its state. A
gradient is copied out behind the last kernel of the operator that takes its block, and its block goes once more than so
many bytes of gradients are on their way, the oldest first: what runs next then waits for its copy. Behind backward the
host waits for all of them, updates one parameter after the other, and has each copied in while it goes on.

What a capture does not say: that a parameter is used twice, so that its gradient is added to after it was taken. The
backward of an embedding that takes a block as large as a gradient is taken to do so. Gradients that are there before
the step and stay (`zero_grad(set_to_none=False)`) go behind backward, and keep their blocks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from vdnnsim.captured.iteration import buffers_of, kernel_keys
from vdnnsim.captured.step import BEFORE_STEP, Block, BlockClass, CapturedStep, Phase
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Buffer
from vdnnsim.program import (
    Allocate,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostUpdate,
    Kernel,
    Piece,
    Program,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.program.order import Order, follow

_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
_NEXT_STEP = "the next step"


class Updated(NamedTuple):
    """A parameter's block and its gradient's, by number."""

    parameter: int
    gradient: int


@dataclass(frozen=True)
class Optimised:
    """What the optimiser of a step does, as far as a capture tells."""

    step: CapturedStep

    @cached_property
    def gradients(self) -> tuple[int, ...]:
        """The gradients that the optimiser reads, in the order in which their blocks are taken."""
        held = BlockClass.GRADIENT
        return tuple(n for n, block in enumerate(self.step.blocks) if block.holds is held and block.given is None)

    @cached_property
    def updated(self) -> tuple[Updated, ...]:
        """Each parameter with its gradient, in the order of forward. Both are of one size; of several the one that
        comes first in forward has its gradient last. Raises `InvalidInput` for a gradient without a parameter."""
        left: dict[int, list[int]] = {}
        for number, block in enumerate(self.step.blocks):
            if block.holds is BlockClass.PARAMETER:
                left.setdefault(block.size_bytes, []).append(number)
        found = []
        for gradient in self.gradients:
            those = left.get(self.step.blocks[gradient].size_bytes)
            if not those:
                size_bytes = self.step.blocks[gradient].size_bytes
                raise InvalidInput(
                    f"{self.step.header.name}: found a gradient of {size_bytes} bytes without a parameter as large, "
                    "expected one for each, of one type with it"
                )
            found.append(Updated(those.pop(), gradient))
        return tuple(sorted(found))

    @cached_property
    def element_bytes(self) -> int:
        """Of a parameter's element, by those that are saved; 4 where none is."""
        types = [saved.dtype for saved in self.step.saved if saved.stays == "parameter"]
        return _BYTES.get(max(set(types), key=types.count), 4) if types else 4

    @cached_property
    def kernels(self) -> frozenset[tuple[str, str]]:
        """Its kernels."""
        phases = (self.step.operators[kernel.operator].phase for kernel in self.step.kernels)
        return frozenset(
            key for key, phase in zip(kernel_keys(self.step), phases, strict=True) if phase is Phase.OPTIMISER
        )

    @cached_property
    def left_out(self) -> frozenset[int]:
        """The blocks that are not here where the host runs it: its state, what it takes, the last step's gradients."""
        return frozenset(number for number, block in enumerate(self.step.blocks) if self._is_left_out(block))

    def _is_left_out(self, block: Block) -> bool:
        if block.holds is BlockClass.OPTIMISER_STATE:
            return True
        if block.holds is BlockClass.GRADIENT and block.taken == BEFORE_STEP:
            return block.given is not None
        return block.operator is not None and self.step.operators[block.operator].phase is Phase.OPTIMISER

    @cached_property
    def complete(self) -> dict[int, list[int]]:
        """The gradients that are complete behind each kernel, by its number; those that stay behind the last one of
        backward."""
        step = self.step
        last: dict[int, int] = {kernel.operator: number for number, kernel in enumerate(step.kernels)}
        end = len(step.kernels) - len(self.kernels) - 1
        added_to: dict[int, int] = {}
        for block in step.blocks:
            if block.operator is not None and step.operators[block.operator].name.startswith("Embedding"):
                added_to[block.size_bytes] = last.get(block.operator, end)
        found: dict[int, list[int]] = {}
        for gradient in self.gradients:
            block = step.blocks[gradient]
            behind = end if block.operator is None else last.get(block.operator, end)
            found.setdefault(min(end, max(behind, added_to.get(block.size_bytes, 0))), []).append(gradient)
        return found


def on_host(step: CapturedStep, program: Program, in_flight_bytes: int) -> Program:
    """The program of this step, in which nothing else leaves, with its optimiser on the host. Raises `InvalidInput`."""
    building = _Building(Optimised(step), in_flight_bytes)
    steps = []
    for part in program.steps:
        first = len(building.commands)
        for command in program.commands[part.first : part.last]:
            building.follow(command)
        steps.append(part._replace(first=first, last=len(building.commands)))
    building.end()
    steps[-1] = steps[-1]._replace(last=len(building.commands))
    parameters = [building.buffers[each.parameter] for each in building.optimised.updated]
    gradients = [building.buffers[gradient] for gradient in building.optimised.gradients]
    return replace(
        program,
        setup=tuple([buffer for buffer in program.setup if buffer.name not in building.left_out]),
        commands=tuple(building.commands),
        steps=tuple(steps),
        offloaded=(*gradients, *parameters),
        on_host=frozenset(buffer.name for buffer in parameters),
    )


class _Building:
    def __init__(self, optimised: Optimised, in_flight_bytes: int) -> None:
        self.optimised, self.in_flight_bytes = optimised, in_flight_bytes
        self.buffers = buffers_of(optimised.step)
        self.left_out = {self.buffers[number].name for number in optimised.left_out}
        self.order = Order()
        self.commands: list[Command] = []
        self.kernels = 0
        self.under_way: deque[tuple[Buffer, Piece]] = deque()
        """The gradients whose blocks go when they are there, and their copies."""
        self.bytes_under_way = 0

    def follow(self, command: Command) -> None:
        """The next command of the captured program."""
        if isinstance(command, Synchronise):
            return  # the last one, in place of which the host waits for gradients
        if isinstance(command, Allocate | Free) and command.buffer.name in self.left_out:
            return
        if not isinstance(command, Kernel):
            self._give(command)
        elif (command.layer, command.pass_) not in self.optimised.kernels:
            kernel = self._give(command)
            for gradient in self.optimised.complete.get(self.kernels, ()):
                self._copy_out(gradient, kernel)
            self.kernels += 1

    def end(self) -> None:
        """What comes behind backward."""
        self._give(Synchronise((Stream.COMPUTE, Stream.COPY_OUT)))
        for buffer, _ in self.under_way:
            self._give(Free(buffer))
        blocks, element_bytes = self.optimised.step.blocks, self.optimised.element_bytes
        for parameter, gradient in self.optimised.updated:
            buffer = self.buffers[parameter]
            self._give(HostUpdate(blocks[gradient].size_bytes // element_bytes))
            self._give(CopyIn(buffer, buffer.layer, _NEXT_STEP))
        self._give(Synchronise((Stream.COPY_IN,)))

    def _copy_out(self, gradient: int, kernel: Piece | None) -> None:
        buffer = self.buffers[gradient]
        if kernel and not self.order.ordered(kernel, Stream.COPY_OUT):
            self._give(StreamWait(Stream.COPY_OUT, kernel))
        copy = self._give(CopyOut(buffer, buffer.layer))
        assert copy is not None
        if self.optimised.step.blocks[gradient].taken == BEFORE_STEP:
            return
        self.under_way.append((buffer, copy))
        self.bytes_under_way += buffer.size_bytes
        while self.bytes_under_way > self.in_flight_bytes and len(self.under_way) > 1:
            gone, copied = self.under_way.popleft()
            self._give(StreamWait(Stream.COMPUTE, copied))
            self._give(Free(gone))
            self.bytes_under_way -= gone.size_bytes

    def _give(self, command: Command) -> Piece | None:
        self.commands.append(command)
        return follow(self.order, command)
