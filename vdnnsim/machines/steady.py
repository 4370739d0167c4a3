"""The memory of a step that is trained again and again: its peaks once they no longer change.

The first step finds the allocator as it was left by something else; its segments and holes then come to rest. A
program is replayed without a clock, one step after the other in the same pool, until two steps in a row need the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.device_memory import DeviceMemory, OutOfMemory, no_room
from vdnnsim.memory import CachingPool, Pool, PoolExhausted
from vdnnsim.program import Allocate, Free, Program

MOST_STEPS = 20
"""A memory that has not come to rest by then grows, or goes round."""


class StepMemory(NamedTuple):
    """What one step took of the device: the most bytes at once as asked for, as the allocator gives them, and as it
    holds of the device; and how often it gave its cache back to find room (PyTorch's num_alloc_retries)."""

    requested_bytes: int
    allocated_bytes: int
    reserved_bytes: int
    retries: int


class SteadyMemory(NamedTuple):
    """Each step from the first to the one that needs what the one before it did; not `settled` where none did."""

    steps: tuple[StepMemory, ...]
    settled: bool

    @property
    def last(self) -> StepMemory:
        return self.steps[-1]


def steady_memory(
    program: Program, memory: DeviceMemory, successors: Mapping[str, str] | None = None, most_steps: int = MOST_STEPS
) -> SteadyMemory:
    """What steps of this program need, the first of them in `memory`, which is used up. `successors` says which of the
    blocks that a step leaves behind is, in the next one, which of those that are there before it (a gradient, say).
    Raises `OutOfMemory`, in whichever step it is, and `InvalidInput` for a successor of another size."""
    replay = _Replay(program, memory, successors or {})
    steps = [replay.step()]
    while len(steps) < most_steps:
        steps.append(replay.step())
        if steps[-1] == steps[-2]:
            return SteadyMemory(tuple(steps), settled=True)
    return SteadyMemory(tuple(steps), settled=False)


class _Replay:
    """Steps in one pool. Buffers are known by number; a call is the number of one that is taken, or the complement of
    that of one given back. What a step leaves behind without a successor stays for good, as a leak does; what it gives
    back and finds no successor of is not there any more."""

    def __init__(self, program: Program, memory: DeviceMemory, successors: Mapping[str, str]) -> None:
        self.program = program
        self.pool = memory.pool
        taken = [command.buffer for command in program.commands if isinstance(command, Allocate)]
        self.buffers = list({buffer.name: buffer for buffer in (*program.setup, *taken)}.values())
        numbers = {buffer.name: number for number, buffer in enumerate(self.buffers)}
        self.sizes_bytes = [buffer.size_bytes for buffer in self.buffers]
        self.calls = [
            numbers[command.buffer.name] if isinstance(command, Allocate) else ~numbers[command.buffer.name]
            for command in program.commands
            if isinstance(command, (Allocate, Free))
        ]
        self.successors = [(numbers[left], numbers[there]) for left, there in successors.items()]
        for left, there in self.successors:
            if self.sizes_bytes[left] != self.sizes_bytes[there]:
                raise InvalidInput(
                    f"successors: found {self.buffers[left].name} of {self.sizes_bytes[left]} bytes for "
                    f"{self.buffers[there].name} of {self.sizes_bytes[there]}, expected equal sizes"
                )
        self.addresses: list[int | None] = [None] * len(self.buffers)
        for number, buffer in enumerate(program.setup):
            self.addresses[number] = memory.set_up(buffer)
        self.requested_bytes = sum(buffer.size_bytes for buffer in program.setup)

    def step(self) -> StepMemory:
        """Replay one step, and hand what it leaves on to the next."""
        pool, sizes_bytes, addresses = self.pool, self.sizes_bytes, self.addresses
        allocate, free = pool.allocate, pool.free
        retries = _retries(pool)
        pool.restart_high_water()
        requested_bytes = most_requested_bytes = self.requested_bytes
        most_allocated_bytes = pool.in_use_bytes
        for place, number in enumerate(self.calls):
            if number >= 0:
                try:
                    addresses[number] = allocate(sizes_bytes[number])
                except PoolExhausted as error:
                    raise self._out_of_memory(place, error) from None
                requested_bytes += sizes_bytes[number]
                continue
            address = addresses[~number]
            if address is None:
                continue
            if requested_bytes > most_requested_bytes:
                most_requested_bytes = requested_bytes
            if pool.in_use_bytes > most_allocated_bytes:
                most_allocated_bytes = pool.in_use_bytes
            free(address)
            addresses[~number] = None
            requested_bytes -= sizes_bytes[~number]
        self.requested_bytes = requested_bytes
        for left, there in self.successors:
            addresses[there], addresses[left] = addresses[left], None
        return StepMemory(
            max(most_requested_bytes, requested_bytes),
            max(most_allocated_bytes, pool.in_use_bytes),
            pool.high_water_bytes,
            _retries(pool) - retries,
        )

    def _out_of_memory(self, place: int, error: PoolExhausted) -> OutOfMemory:
        """Where it was, and what was there, for the call that found no room."""
        program = self.program
        calls = [n for n, command in enumerate(program.commands) if isinstance(command, (Allocate, Free))]
        where = next(step.title for step in program.steps if step.first <= calls[place] < step.last)
        live = [buffer for buffer, at in zip(self.buffers, self.addresses, strict=True) if at is not None]
        return no_room(where, self.buffers[self.calls[place]], self.pool, live, error)


def _retries(pool: Pool) -> int:
    return pool.retries if isinstance(pool, CachingPool) else 0
