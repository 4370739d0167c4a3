"""The real machine: runs the very program that the simulated machine runs, on a device, with the same pool code.

A program is loaded once: the pool is walked to learn every address, each kernel is bound to its tensors, each copy to
its pinned buffer. An iteration then gives the program's commands in order and nothing else; the pool is asked for every
allocation again, and must answer with the address that the kernels were bound to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch

from vdnnsim.errors import InvalidInput, VdnnsimError
from vdnnsim.machines.checking import check_program
from vdnnsim.machines.device_memory import DeviceMemory, replay_memory
from vdnnsim.machines.real.checked import LAG_NS, Checked, Poison, Results
from vdnnsim.machines.real.device import Action, Device, Stopwatch
from vdnnsim.machines.real.lowering import Kind, Lowering, PoolMaker, Prepared, nothing, rehearsal
from vdnnsim.machines.real.operands import Bytes, tensors_of
from vdnnsim.machines.real.operators import Operators
from vdnnsim.machines.real.streams import left_under_way, waits_for_all, with_more
from vdnnsim.machines.real.timeline import Marks, timeline_of
from vdnnsim.memory import Pool
from vdnnsim.network import DATA, Network, map_operand, weights_operand
from vdnnsim.program import (
    Allocate,
    Command,
    Free,
    Kernel,
    Program,
    Stream,
    Synchronise,
)
from vdnnsim.program.order import stream_of
from vdnnsim.timeline import Timeline


class AddressChanged(VdnnsimError):  # noqa: N818 - reads as what it is
    """A pool that did not repeat itself; ``args`` is (buffer, address before, address now)."""

    def __str__(self) -> str:
        buffer, before, now = self.args
        return f"{buffer}: found at address {now}, expected {before} as in the iteration before; the pool must repeat"


@dataclass(frozen=True)
class Training:
    """What is trained on: images, the class of each, and each layer's weights as one flat tensor, on the device."""

    images: torch.Tensor
    labels: torch.Tensor
    weights: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class RealMachine:
    """A device with the kernels that it runs, ready to load programs of one network."""

    device: Device
    operators: Operators
    network: Network
    training: Training

    def load(self, program: Program, make_pool: PoolMaker) -> LoadedProgram:
        """Make a program ready in a fresh slab. Raises `OutOfMemory`, `DeviceRefused`, `InvalidInput`."""
        if program.paging:
            raise InvalidInput("policy: found demand paging, expected one that copies: it is simulated alone")
        if program.compression:
            raise InvalidInput("policy: found copies that are compressed; expected plain ones: no GPU has that engine")
        pool = make_pool()
        replay_memory(program, DeviceMemory(pool))
        self.device.enter()
        self.operators.begin()
        slab = self.device.make_slab(pool.span_bytes)
        host = dict(
            zip(
                (buffer.name for buffer in program.offloaded),
                self.device.make_pinned([buffer.size_bytes for buffer in program.offloaded]),
                strict=True,
            )
        )
        return LoadedProgram(self, program, make_pool, slab, host)

    def bind(self, kernel: Kernel, bytes_of: Bytes) -> Action:
        """Make a kernel ready on the bytes of its operands."""
        tensors = tensors_of(self.network, kernel, bytes_of, self.training.labels)
        return self.device.on_compute(self.operators.prepare(self.network.by_name[kernel.layer], kernel, tensors))


class LoadedProgram:
    """A program with addresses, tensors and copies resolved. Valid until the device makes another slab or arena."""

    def __init__(
        self,
        machine: RealMachine,
        program: Program,
        make_pool: PoolMaker,
        slab: torch.Tensor,
        host: Mapping[str, torch.Tensor],
    ) -> None:
        self.machine = machine
        self.program = program
        self.slab = slab
        self.host = host
        self._make_pool = make_pool
        self._rehearse = rehearsal(machine.device, make_pool, Stream.COPY_IN)
        """Also before an iteration: the one before it has ended in a wait, as it does in training."""
        lowering = Lowering(machine.device, machine.bind, program, make_pool, slab, host)
        self._setup, self._events = lowering.setup, lowering.events
        self.orders = lowering.orders
        self._last_waits = [machine.device.wait(stream) for stream in left_under_way(program)]
        self._where = _titles(program)

    def run(self) -> int:
        """One iteration as fast as it goes; returns its nanoseconds, from the first command until all is done."""
        begin_ns, end_ns = self._pass(self.orders, self._begin().pool)
        self.machine.device.drain()
        return end_ns - begin_ns

    def poised(self) -> Callable[[int], tuple[int, int]]:
        """One iteration with everything in place. The call that is returned begins it at a moment of the host's clock,
        which all processes of a machine have in common, and returns when it began and when all was done."""
        pool = self._begin().pool

        def begin(at_ns: int) -> tuple[int, int]:
            span_ns = self._pass(self.orders, pool, at_ns=at_ns)
            self.machine.device.drain()
            return span_ns

        return begin

    def run_in_parts(self) -> list[int]:
        """One iteration as fast as it goes, as the nanoseconds of each of its `parts` and of what follows the last."""
        times: list[int] = []
        now_ns = self.machine.device.now_ns

        def noted(call: Action) -> Action:
            def action() -> None:
                call()
                times.append(now_ns())

            return action

        note = Prepared(Kind.CALL, noted(nothing))
        cuts = set(self.parts)
        orders = [
            order._replace(call=noted(order.call)) if index in cuts else order
            for index, order in enumerate(self.orders)
        ]
        self._pass([note, *orders, note], self._begin().pool)
        self.machine.device.drain()
        return [end_ns - begin_ns for begin_ns, end_ns in pairwise(times)]

    @cached_property
    def parts(self) -> list[int]:
        """Where the iteration falls into parts that do not depend on each other: the waits after which no stream has
        work left, by the command's index."""
        return waits_for_all(self.program)

    def train(self, iterations: int) -> int:
        """Iterations one right after the other, each with images and weights put in place anew; returns the
        nanoseconds of all without that."""
        self._begin()
        spans = [self._pass(self.orders, self._fresh_memory().pool) for _ in range(iterations)]
        self.machine.device.drain()
        return sum(end_ns - begin_ns for begin_ns, end_ns in spans)

    def prepare(self) -> None:
        """Put images and weights where the program has them, as every iteration does before it begins."""
        self._begin()

    def _pass(
        self, orders: Sequence[Prepared], pool: Pool, times: list[int] | None = None, at_ns: int | None = None
    ) -> tuple[int, int]:
        allocate, place, free = pool.allocate, pool.allocate_at, pool.free
        paced = times is not None
        now_ns = self.machine.device.now_ns
        with self.machine.device.host.quiet():
            self._rehearse()
            begin_ns = now_ns()
            while at_ns is not None and begin_ns < at_ns:
                begin_ns = now_ns()
            for kind, call, size_bytes, address, buffer in orders:
                if kind == 0:
                    call()
                elif kind == 1:
                    found = allocate(size_bytes)
                    if found != address:
                        raise AddressChanged(buffer, address, found)
                elif kind == 2:
                    free(address)
                else:
                    place(address, size_bytes)
                if paced:
                    times.append(now_ns())  # type: ignore[union-attr]
            for wait in () if paced else self._last_waits:
                wait()
            end_ns = now_ns()
        return begin_ns, end_ns

    def run_paced(self) -> tuple[list[int], int]:
        """One iteration with the host's clock read after every command: those times, and when it began."""
        times: list[int] = []
        begin_ns, _ = self._pass(self.orders, self._begin().pool, times)
        self.machine.device.drain()
        return times, begin_ns

    def observe(self, head_start_ns: int = 0) -> Timeline:
        """One iteration with the beginning and end of every kernel and copy marked on its stream; the marks cost a
        little time. With a head start, the device is kept busy for so long beforehand, so that the host is ahead."""
        memory = self._begin()
        marks = self._marked(memory, head_start_ns, range(len(self.orders)))
        return timeline_of(self.program, marks, memory, [order.address for order in self.orders])

    def mark(self, marked: Container[int], head_start_ns: int = 0) -> Marks:
        """One iteration in which only the commands of these indices are marked on their streams."""
        return self._marked(self._begin(), head_start_ns, marked)

    def _marked(self, memory: DeviceMemory, head_start_ns: int, marked: Container[int]) -> Marks:
        device = self.machine.device
        stopwatches: dict[int, Stopwatch] = {}
        orders = []
        for index, (order, command) in enumerate(zip(self.orders, self.program.commands, strict=True)):
            stream = stream_of(command)
            if stream is not None and index in marked:
                call, stopwatches[index] = device.timed(stream, order.call)
                order = order._replace(call=call)
            orders.append(order)
        times: list[int] = []
        with self.machine.device.host.quiet():
            self._rehearse()
            if head_start_ns:
                device.head_start(head_start_ns)
            begin_ns = device.now_ns()
            for order, command, place in zip(orders, self.program.commands, self._where, strict=True):
                self._give(order, command, place, memory)
                times.append(device.now_ns())
        device.drain()
        return Marks(begin_ns, times, {index: watch.read() for index, watch in stopwatches.items()})

    def one_by_one(self) -> LoadedProgram:
        """The same program, as loaded, with the host waiting after every kernel."""
        wait = Prepared(Kind.CALL, self.machine.device.wait(Stream.COMPUTE, self._rehearse))
        waits = (Synchronise((Stream.COMPUTE,)),)
        return self._followed(lambda command: waits if isinstance(command, Kernel) else (), wait)

    def doubled(self) -> LoadedProgram:
        """The same program, as loaded, with every kernel and copy given twice: the second call is as warm as it can be.
        What it computes is wrong."""
        return self._followed(lambda command: () if stream_of(command) is None else (command,))

    def _followed(self, by: Callable[[Command], Sequence[Command]], order: Prepared | None = None) -> LoadedProgram:
        """The same program with more commands behind some, which are carried out by this order or by theirs."""
        followed = copy.copy(self)
        followed.program, origins = with_more(self.program, by)
        more = [origin == before for before, origin in pairwise((-1, *origins))]
        followed.orders = [
            order if order and is_more else self.orders[origin] for origin, is_more in zip(origins, more, strict=True)
        ]
        followed._where = _titles(followed.program)
        return followed

    def check(self) -> Checked:
        """One iteration in the checking mode. Raises `BrokenProgram` where the program uses a block out of order."""
        check_program(self.machine.network, self.program, DeviceMemory(self._make_pool()))
        return self.poisoned()

    def poisoned(self, lagging: Container[Stream] = ()) -> Checked:
        """One iteration in which the bytes that the program gives back are overwritten with NaN: see `checked`. Work on
        `lagging` streams begins late, each piece by `LAG_NS`, so that what does not wait for it comes too early."""
        machine, device = self.machine, self.machine.device
        for host in self.host.values():
            host.fill_(255)
        device.poison(self.slab)
        memory = self._begin()
        poison = Poison(device, self.slab, machine.network, self.program)
        results = Results(machine.network, machine.training.labels, poison)
        for name, place in self._setup.items():
            poison.place(name, *place)
        for order, command, title in zip(self.orders, self.program.commands, self._where, strict=True):
            stream = poison.before(command)
            if stream is not None and stream in lagging:
                device.head_start(LAG_NS, stream)
            self._give(order, command, title, memory)
            if isinstance(command, Allocate):
                poison.place(command.buffer.name, order.address, command.buffer.size_bytes)
            piece = poison.after(command)
            if isinstance(command, Kernel) and (take := results.of(command)):
                device.on_compute(take)()
                if piece in self._events:
                    self._events[piece].record()  # what waits for the kernel waits for this as well
        device.drain()
        return results.on_host()

    def _begin(self) -> DeviceMemory:
        """Everything as it is before an iteration: the pool with the set-up buffers, weights and images in place."""
        device = self.machine.device
        device.enter()
        self.machine.operators.begin()
        memory = self._fresh_memory()
        device.drain()
        return memory

    def _fresh_memory(self) -> DeviceMemory:
        memory = DeviceMemory(self._make_pool())
        for buffer in self.program.setup:
            memory.set_up(buffer)
        self._fill(map_operand(DATA), self.machine.training.images)
        for layer, weights in self.machine.training.weights.items():
            self._fill(weights_operand(layer), weights)
        if map_operand(DATA) in self.program.on_host:
            flat = self.machine.training.images.reshape(-1)
            self.host[map_operand(DATA)].view(torch.float32)[: flat.numel()].copy_(flat)
        return memory

    def _fill(self, operand: str, values: torch.Tensor) -> None:
        address, size_bytes = self._setup[self.program.operands[operand]]
        flat = values.reshape(-1)
        self._bytes(address, size_bytes).view(torch.float32)[: flat.numel()].copy_(flat)

    def _give(self, order: Prepared, command: Command, place: str, memory: DeviceMemory) -> None:
        if order.kind is Kind.CALL:
            order.call()
        elif isinstance(command, Allocate):
            found = memory.allocate(command.buffer, place)
            if found != order.address:
                raise AddressChanged(order.name, order.address, found)
        elif isinstance(command, Free):
            memory.free(command.buffer)

    def _bytes(self, address: int, size_bytes: int) -> torch.Tensor:
        return self.slab[address : address + size_bytes]


def _titles(program: Program) -> list[str]:
    """The step of each command, in words."""
    titles = [""] * len(program.commands)
    for step in program.steps:
        titles[step.first : step.last] = [step.title] * (step.last - step.first)
    return titles
