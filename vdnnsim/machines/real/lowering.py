"""Commands made ready: each address known, each kernel bound to its tensors, each copy to its pinned buffer, each wait
to its stream or event, so that the timed loop does the program's commands and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NamedTuple

import torch

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.real.device import Action, Device, Event
from vdnnsim.machines.real.operands import Bytes
from vdnnsim.machines.real.streams import far_ahead
from vdnnsim.memory import NULL_ADDRESS, Pool
from vdnnsim.program import (
    Allocate,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    HostUpdate,
    HostWait,
    Kernel,
    NvmeRead,
    NvmeWrite,
    Order,
    Piece,
    Program,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.program.order import follow, stream_of

PoolMaker = Callable[[], Pool]
Bind = Callable[[Kernel, Bytes], Action]
"""Makes a kernel ready on the bytes of its operands."""
_REHEARSED_BYTES = 4096
_MOST_AHEAD = 32
"""Kernels that the host gives before it waits for one of them. With hundreds in the queue copies out ran 12 % slower on
an H200, though nothing else had changed: see docs/calibration.md."""
_LOOKS_EVERY = 8
"""Kernels from one such wait to the next."""


class Kind(IntEnum):
    """What carrying out a command takes."""

    CALL = 0
    ALLOCATE = 1
    FREE = 2
    PLACE = 3


class Prepared(NamedTuple):
    """One command made ready: `call` to run, or a block of the pool at `address` for a buffer of this name: the pool's
    choice, or, where the program has it lie there, its own."""

    kind: Kind
    call: Action
    size_bytes: int = 0
    address: int = NULL_ADDRESS
    name: str = ""


class Lowering:
    """A program made ready on a device, in this slab and with these pinned buffers: `orders`, one for each command;
    `setup`, where the buffers of the set-up lie (address, size); `events`, behind each piece of work that somebody
    waits for. Raises `NotGiven` for a wait for what comes later, `InvalidInput` for a call of a framework, which
    nothing here does."""

    def __init__(
        self,
        device: Device,
        bind: Bind,
        program: Program,
        make_pool: PoolMaker,
        slab: torch.Tensor,
        host: Mapping[str, torch.Tensor],
    ) -> None:
        self._device, self._bind, self._slab, self._host = device, bind, slab, host
        self._operands = program.operands
        self._memory = DeviceMemory(make_pool())
        self.setup = {buffer.name: (self._memory.set_up(buffer), buffer.size_bytes) for buffer in program.setup}
        waits = [command for command in program.commands if isinstance(command, HostWait | StreamWait)]
        self.events: dict[Piece, Event] = {wait.piece: device.event(wait.piece.stream) for wait in waits}
        self._meanwhile = {stream: rehearsal(device, make_pool, stream) for stream in (Stream.COPY_OUT, Stream.COPY_IN)}
        self._idle_direction = Stream.COPY_IN
        """The one in which the program does not copy now."""
        self._work_left = sum(stream_of(command) is not None for command in program.commands)
        """Kernels and copies that are still to be given."""
        order = Order()
        orders = [self._prepared(command, follow(order, command)) for command in program.commands]
        self.orders = self._held_back(orders, far_ahead(program, _MOST_AHEAD, _LOOKS_EVERY))

    def _held_back(self, orders: list[Prepared], waits: Mapping[int, int]) -> list[Prepared]:
        """The orders with a host that is not too far ahead: before some it waits for earlier ones."""
        events = {index: self._device.event(Stream.COMPUTE) for index in waits.values()}
        for index, event in events.items():
            orders[index] = orders[index]._replace(call=_one_after_the_other([orders[index].call, event.record]))
        for index, earlier in waits.items():
            calls = [events[earlier].host_wait(), orders[index].call]
            orders[index] = orders[index]._replace(call=_one_after_the_other(calls))
        return orders

    def _prepared(self, command: Command, piece: Piece | None) -> Prepared:
        if isinstance(command, Allocate):
            buffer = command.buffer
            address = self._memory.allocate(buffer, "lowering")
            kind = Kind.ALLOCATE if buffer.address is None else Kind.PLACE
            return Prepared(kind, nothing, buffer.size_bytes, address, buffer.name)
        if isinstance(command, Free):
            buffer = command.buffer
            return Prepared(Kind.FREE, nothing, buffer.size_bytes, self._memory.free(buffer), buffer.name)
        if isinstance(command, HostCall | HostUpdate):
            what = f"the call '{command.what}'" if isinstance(command, HostCall) else "an update of parameters"
            raise InvalidInput(
                f"program: found {what} of a framework, expected kernels, copies, waits and memory: "
                "a program with such calls runs in its framework, not on this machine"
            )
        if isinstance(command, NvmeWrite | NvmeRead):
            raise InvalidInput(
                "policy: found tensors that go on to NVMe, which is simulated alone; expected place=host"
            )
        if isinstance(command, Kernel):
            self._work_left -= 1
            calls = [self._bind(command, self._bytes_of)]
        elif isinstance(command, CopyOut | CopyIn):
            self._work_left -= 1
            calls = [self._copy(command)]
        else:
            calls = self._waits(command)
        if piece in self.events:
            calls.append(self.events[piece].record)
        return Prepared(Kind.CALL, _one_after_the_other(calls))

    def _copy(self, command: CopyOut | CopyIn) -> Action:
        here = self._bytes_of(command.buffer.name, command.buffer.size_bytes)
        there = self._host[command.buffer.name]
        if isinstance(command, CopyOut):
            self._idle_direction = Stream.COPY_IN
            return self._device.copy(Stream.COPY_OUT, there, here)
        self._idle_direction = Stream.COPY_OUT
        return self._device.copy(Stream.COPY_IN, here, there)

    def _waits(self, command: Synchronise | HostWait | StreamWait) -> list[Action]:
        # Behind the last piece of work there is nothing to be warm for, and copies may be under way in both directions.
        meanwhile = self._meanwhile[self._idle_direction] if self._work_left else None
        if isinstance(command, Synchronise):
            return [self._device.wait(stream, meanwhile) for stream in command.streams]
        event = self.events[command.piece]
        return [event.host_wait(meanwhile) if isinstance(command, HostWait) else event.stream_wait(command.stream)]

    def _bytes_of(self, operand: str, size_bytes: int) -> torch.Tensor:
        begin = self._memory.addresses[self._operands.get(operand, operand)]
        return self._slab[begin : begin + size_bytes]


def rehearsal(device: Device, make_pool: PoolMaker, direction: Stream) -> Action:
    """Once through all that a host does after a wait, on nothing: a block of a pool of this kind, a copy in the
    direction in which the program does not copy now, a launch, an event."""
    calls = device.rehearsal(direction)
    pool = make_pool()
    allocate, free = pool.allocate, pool.free

    def rehearse() -> None:
        free(allocate(_REHEARSED_BYTES))
        calls()

    return rehearse


def nothing() -> None:
    """The call of a command that only the pool carries out."""


def _one_after_the_other(actions: list[Action]) -> Action:
    if len(actions) == 1:
        return actions[0]

    def call() -> None:
        for action in actions:
            action()

    return call
