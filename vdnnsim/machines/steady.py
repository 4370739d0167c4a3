"""The memory of a step that is trained again and again: its peaks once they no longer change.

The first step finds the allocator as it was left by something else; its segments and holes then come to rest. A
program is replayed without a clock, one step after the other in the same pool, until two steps in a row need the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.device_memory import DeviceMemory, OutOfMemory, no_room
from vdnnsim.memory import NULL_ADDRESS, CachingPool, Pool, PoolExhausted
from vdnnsim.program import Allocate, Buffer, Free, Program

MOST_STEPS = 20
"""A memory that has not come to rest by then goes round."""


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
    blocks that a step leaves behind is, in the next one, which of those that are there before it (a gradient, say);
    those of blocks that the program lacks count nothing. Every step finds the same blocks: what else one leaves behind
    goes between the steps (a loss that was returned), and what else one gives back is taken anew there (the next data).
    Raises `OutOfMemory`, in whichever step it is, and `InvalidInput` for a successor of another size."""
    replay = _Replay(program, memory, successors or {})
    steps = [replay.step()]
    while len(steps) < most_steps:
        steps.append(replay.step())
        if steps[-1] == steps[-2]:
            return SteadyMemory(tuple(steps), settled=True)
    return SteadyMemory(tuple(steps), settled=False)


class _Replay:
    """Steps in one pool. Buffers are known by number, as in `Program.memory_calls`."""

    def __init__(self, program: Program, memory: DeviceMemory, successors: Mapping[str, str]) -> None:
        self.program = program
        self.pool = memory.pool
        self.buffers, self.calls = program.memory_calls
        numbers = {buffer.name: number for number, buffer in enumerate(self.buffers)}
        self.sizes_bytes = [buffer.size_bytes for buffer in self.buffers]
        pool = self.pool
        self.allocates = [pool.allocate_apart if buffer.apart else pool.allocate for buffer in self.buffers]
        known = (pair for pair in successors.items() if numbers.keys() >= set(pair))
        self.successors = [(numbers[left], numbers[there]) for left, there in known]
        for left, there in self.successors:
            if self.sizes_bytes[left] != self.sizes_bytes[there]:
                raise InvalidInput(
                    f"successors: found {self.buffers[left].name} of {self.sizes_bytes[left]} bytes for "
                    f"{self.buffers[there].name} of {self.sizes_bytes[there]}, expected equal sizes"
                )
        self.there = len(program.setup)
        self.addresses: list[int] = [NULL_ADDRESS] * len(self.buffers)
        self.addresses[: self.there] = memory.begin(program.setup)
        self.requested_bytes = sum(buffer.size_bytes for buffer in program.setup)

    def step(self) -> StepMemory:
        """Replay one step behind those before it."""
        self._between()
        pool, sizes_bytes, addresses, allocates = self.pool, self.sizes_bytes, self.addresses, self.allocates
        free = pool.free
        retries = _retries(pool)
        pool.restart_high_water()
        requested_bytes = most_requested_bytes = self.requested_bytes
        most_allocated_bytes = pool.in_use_bytes
        for place, number in enumerate(self.calls):
            if number >= 0:
                try:
                    addresses[number] = allocates[number](sizes_bytes[number])
                except PoolExhausted as error:
                    raise self._out_of_memory(place, error) from None
                requested_bytes += sizes_bytes[number]
                continue
            if requested_bytes > most_requested_bytes:
                most_requested_bytes = requested_bytes
            if pool.in_use_bytes > most_allocated_bytes:
                most_allocated_bytes = pool.in_use_bytes
            free(addresses[~number])
            addresses[~number] = NULL_ADDRESS
            requested_bytes -= sizes_bytes[~number]
        self.requested_bytes = requested_bytes
        return StepMemory(
            max(most_requested_bytes, requested_bytes),
            max(most_allocated_bytes, pool.in_use_bytes),
            pool.high_water_bytes,
            _retries(pool) - retries,
        )

    def _between(self) -> None:
        """What is there before a step is there again."""
        addresses, sizes_bytes = self.addresses, self.sizes_bytes
        for left, there in self.successors:
            if addresses[there] == NULL_ADDRESS:
                addresses[there], addresses[left] = addresses[left], NULL_ADDRESS
        for number in range(self.there, len(addresses)):
            if addresses[number] != NULL_ADDRESS:
                self.pool.free(addresses[number])
                addresses[number] = NULL_ADDRESS
                self.requested_bytes -= sizes_bytes[number]
        for number in range(self.there):
            if addresses[number] == NULL_ADDRESS and sizes_bytes[number]:
                try:
                    addresses[number] = self.pool.allocate(sizes_bytes[number])
                except PoolExhausted as error:
                    raise no_room(
                        "the time between steps", self.buffers[number], self.pool, self._live(), error
                    ) from None
                self.requested_bytes += sizes_bytes[number]

    def _live(self) -> list[Buffer]:
        return [buffer for buffer, at in zip(self.buffers, self.addresses, strict=True) if at != NULL_ADDRESS]

    def _out_of_memory(self, place: int, error: PoolExhausted) -> OutOfMemory:
        """Where it was, and what was there, for the call that found no room."""
        program = self.program
        calls = [n for n, command in enumerate(program.commands) if isinstance(command, (Allocate, Free))]
        where = next(step.title for step in program.steps if step.first <= calls[place] < step.last)
        return no_room(where, self.buffers[self.calls[place]], self.pool, self._live(), error)


def _retries(pool: Pool) -> int:
    return pool.retries if isinstance(pool, CachingPool) else 0
