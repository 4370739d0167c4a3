"""Device memory as both machines use it: a pool behind the program's buffers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum

from vdnnsim.errors import VdnnsimError
from vdnnsim.memory import CachingPool, Pool, PoolExhausted
from vdnnsim.program import Allocate, Buffer, Free, MemoryClass, Program
from vdnnsim.units import format_bytes


class OutOfMemory(VdnnsimError):  # noqa: N818 - reads as what it is
    """A buffer that found no room.

    ``args`` is (where: the step or "set-up", buffer, requested bytes, capacity bytes, bytes in use by class, largest
    hole in bytes, free bytes).
    """

    def __init__(
        self,
        where: str,
        buffer: str,
        requested_bytes: int,
        capacity_bytes: int,
        in_use_by_class: Mapping[str, int],
        largest_hole_bytes: int,
        free_bytes: int,
    ) -> None:
        super().__init__(
            where, buffer, requested_bytes, capacity_bytes, dict(in_use_by_class), largest_hole_bytes, free_bytes
        )

    on_device = True
    """Whether it was the GPU's memory that ended, rather than what the host can pin, or NVMe."""
    remedy = "take more memory"
    """What would do, in words."""

    @property
    def where(self) -> str:
        return str(self.args[0])

    @property
    def buffer(self) -> str:
        return str(self.args[1])

    @property
    def in_short(self) -> str:
        """Where it was and what found no room."""
        return f"out of memory in {self.where}: no room for {format_bytes(self.args[2])} ({self.buffer})"

    def needs(self, needed_bytes: int) -> str:
        """What would do, in short, where so much of the GPU's memory would."""
        return f"needs {format_bytes(needed_bytes)}"

    @property
    def requested_bytes(self) -> int:
        return int(self.args[2])

    @property
    def largest_hole_bytes(self) -> int:
        return int(self.args[5])

    @property
    def free_bytes(self) -> int:
        return int(self.args[6])

    @property
    def fragmented(self) -> bool:
        """Whether the free bytes would have been enough in one piece."""
        return self.requested_bytes <= self.free_bytes

    def __str__(self) -> str:
        _, _, _, capacity, by_class, hole, _ = self.args
        in_use = ", ".join(f"{name} {format_bytes(size)}" for name, size in by_class.items() if size)
        return (
            f"{self.in_short}; of {format_bytes(capacity)} in use: {in_use or 'nothing'}; "
            f"largest hole {format_bytes(hole)}"
        )


class DeviceMemory:
    """The live buffers of one iteration, at the addresses that the pool gave them. `begun` are buffers of the set-up
    that lie in the pool already, and where."""

    def __init__(self, pool: Pool, begun: Mapping[str, int] | None = None) -> None:
        self.pool = pool
        self._begun = begun or {}
        self.addresses: dict[str, int] = {}
        self._live: dict[str, Buffer] = {}
        self.peak_in_use_bytes = pool.in_use_bytes
        self.hole_at_peak_bytes: int | None = None

    def begin(self, setup: Sequence[Buffer]) -> list[int]:
        """The addresses of all buffers that are there before the iteration. What lies in the pool besides is given
        back, with all that an allocator holds for it: this program never had it. Raises `OutOfMemory`."""
        others = self._begun.keys() - {buffer.name for buffer in setup} if self._begun else ()
        for name in sorted(others):
            self.pool.free(self._begun[name])
        if others:
            if isinstance(self.pool, CachingPool):
                self.pool.empty_cache()
            self.pool.restart_high_water()
            self.peak_in_use_bytes = self.pool.in_use_bytes
        return [self.set_up(buffer) for buffer in setup]

    def set_up(self, buffer: Buffer) -> int:
        """The address of a buffer that is there before the iteration. Raises `OutOfMemory`."""
        address = self._begun.get(buffer.name)
        if address is None:
            return self.allocate(buffer, "set-up")
        self.addresses[buffer.name] = address
        self._live[buffer.name] = buffer
        return address

    def allocate(self, buffer: Buffer, where: str) -> int:
        """The address of the buffer. Raises `OutOfMemory`, saying `where`."""
        try:
            if buffer.address is None:
                allocate = self.pool.allocate_apart if buffer.apart else self.pool.allocate
                address = allocate(buffer.size_bytes)
            else:
                address = self.pool.allocate_at(buffer.address, buffer.size_bytes)
        except PoolExhausted as error:
            raise no_room(where, buffer, self.pool, self._live.values(), error) from None
        name = buffer.name
        self.addresses[name] = address
        self._live[name] = buffer
        in_use_bytes = self.pool.in_use_bytes
        if in_use_bytes > self.peak_in_use_bytes:
            self.peak_in_use_bytes = in_use_bytes
            self.hole_at_peak_bytes = None
        return address

    def free(self, buffer: Buffer) -> int:
        """Give the buffer back; returns the address it had."""
        if self.hole_at_peak_bytes is None and self.pool.in_use_bytes == self.peak_in_use_bytes:
            self.hole_at_peak_bytes = self.pool.largest_hole_bytes
        name = buffer.name
        address = self.addresses.pop(name)
        del self._live[name]
        self.pool.free(address)
        return address

    def bytes_by_class(self) -> dict[str, int]:
        """Bytes of live buffers, as asked for, by memory class."""
        return _by_class(self._live.values())

    def largest_hole_at_peak(self) -> int:
        """The largest request that would have succeeded when most bytes were in use."""
        hole = self.hole_at_peak_bytes
        return self.pool.largest_hole_bytes if hole is None else hole


def no_room(where: str, buffer: Buffer, pool: Pool, live: Collection[Buffer], error: PoolExhausted) -> OutOfMemory:
    """That this buffer found no room beside those that are live."""
    return OutOfMemory(
        where,
        buffer.name,
        buffer.size_bytes,
        pool.capacity_bytes,
        _by_class(live),
        error.largest_hole_bytes,
        pool.free_bytes,
    )


def _by_class(live: Collection[Buffer]) -> dict[str, int]:
    kinds: dict[type[StrEnum], None] = {type(buffer.memory_class): None for buffer in live}
    sizes = {memory_class.value: 0 for kind in kinds or (MemoryClass,) for memory_class in kind}
    for buffer in live:
        sizes[buffer.memory_class.value] += buffer.size_bytes
    return sizes


def replay_memory(program: Program, memory: DeviceMemory) -> None:
    """Allocate and free as the program does, without running anything: addresses do not depend on time.

    Raises `OutOfMemory`.
    """
    memory.begin(program.setup)
    for step, where in zip(program.steps, program.titles, strict=True):
        for command in program.commands[step.first : step.last]:
            if isinstance(command, Allocate):
                memory.allocate(command.buffer, where)
            elif isinstance(command, Free):
                memory.free(command.buffer)
