"""A captured step whose optimiser the host runs: gradients go there, parameters come back, the state never was here.

Of the captured program everything of the optimiser is left out: its kernels, the blocks that it takes, its state. A
gradient is copied out behind the last kernel of the operator that takes its block, and its block goes once more than so
many bytes of gradients are on their way, the oldest first: what runs next then waits for its copy. Behind backward the
host waits for all of them, updates one parameter after the other, and has each copied in while it goes on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from vdnnsim.captured.iteration import buffers_of
from vdnnsim.captured.optimiser import Optimised
from vdnnsim.captured.step import BEFORE_STEP, CapturedStep
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
from vdnnsim.program.rewriting import Rewriting

_NEXT_STEP = "the next step"


def on_host(step: CapturedStep, program: Program, in_flight_bytes: int) -> Program:
    """The program of this step, in which nothing else leaves, with its optimiser on the host. Raises `InvalidInput`."""
    building = _Building(Optimised(step), in_flight_bytes)
    steps = building.steps_of(program)
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


class _Building(Rewriting):
    def __init__(self, optimised: Optimised, in_flight_bytes: int) -> None:
        super().__init__()
        self.optimised, self.in_flight_bytes = optimised, in_flight_bytes
        self.buffers = buffers_of(optimised.step)
        self.left_out = {self.buffers[number].name for number in optimised.left_out}
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
            self.give(command)
        elif (command.layer, command.pass_) not in self.optimised.kernels:
            kernel = self.give(command)
            for gradient in self.optimised.complete.get(self.kernels, ()):
                self._copy_out(gradient, kernel)
            self.kernels += 1

    def end(self) -> None:
        """What comes behind backward."""
        self.give(Synchronise((Stream.COMPUTE, Stream.COPY_OUT)))
        for buffer, _ in self.under_way:
            self.give(Free(buffer))
        blocks, element_bytes = self.optimised.step.blocks, self.optimised.element_bytes
        for parameter, gradient in self.optimised.updated:
            buffer = self.buffers[parameter]
            self.give(HostUpdate(blocks[gradient].size_bytes // element_bytes))
            self.give(CopyIn(buffer, buffer.layer, _NEXT_STEP))
        self.give(Synchronise((Stream.COPY_IN,)))

    def _copy_out(self, gradient: int, kernel: Piece | None) -> None:
        buffer = self.buffers[gradient]
        self.behind(kernel, Stream.COPY_OUT)
        copy = self.work(CopyOut(buffer, buffer.layer))
        if self.optimised.step.blocks[gradient].taken == BEFORE_STEP:
            return
        self.under_way.append((buffer, copy))
        self.bytes_under_way += buffer.size_bytes
        while self.bytes_under_way > self.in_flight_bytes and len(self.under_way) > 1:
            gone, copied = self.under_way.popleft()
            self.give(StreamWait(Stream.COMPUTE, copied))
            self.give(Free(gone))
            self.bytes_under_way -= gone.size_bytes
