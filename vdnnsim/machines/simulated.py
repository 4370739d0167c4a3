"""The simulated machine: SimPy processes for the host and for the compute, copy-out and copy-in engines.

The host gives the program's commands one after the other, each at its cost, and runs ahead of the engines until
it synchronises. Each engine works its stream off in order. A copy's rate changes while it is under way: by the
slowdown that the running kernel's trace row states, and by the link's when both directions copy at once. All
times are integer nanoseconds, so that the same input gives the same timeline to the bit.

A kernel whose trace row says so costs the host its own launch time, and begins on an idle engine that row's start time
after its launch began; any other costs what the profile says and begins when its launch is done. A copy begins
the profile's copy start time after its call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import simpy

from vdnnsim.gpu import GpuProfile
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.step_ends import step_ends_ns
from vdnnsim.memory import Pool
from vdnnsim.program import Allocate, Buffer, CopyIn, CopyOut, Free, Kernel, Program, Stream, Synchronise
from vdnnsim.timeline import (
    COPY_IN,
    COPY_OUT,
    SETUP,
    CopyRecord,
    KernelRecord,
    MemoryRecord,
    Timeline,
    WaitRecord,
)
from vdnnsim.trace import Trace
from vdnnsim.units import PPM

_Process = Generator[simpy.Event, Any, None]
_DIRECTIONS = (COPY_OUT, COPY_IN)
_OUT, _IN = 0, 1
_ALONE = (PPM, PPM)
_FINE = PPM * PPM
"""What remains of a copy is counted in this part of a nanosecond, so that changes of rate do not add up to one."""


class _KernelWork(NamedTuple):
    step: int
    kernel: Kernel
    duration_ns: int
    slowdowns_ppm: tuple[int, int]


class _CopyWork(NamedTuple):
    step: int
    buffer: Buffer
    alone_ns: int


@dataclass(frozen=True)
class SimulatedMachine:
    """A GPU that replays a trace."""

    trace: Trace
    gpu: GpuProfile

    def run(self, program: Program, pool: Pool) -> Timeline:
        """Run one iteration with memory from `pool`. Raises `OutOfMemory`."""
        return _Run(self, program, DeviceMemory(pool)).timeline()

    def time(self, program: Program) -> Timeline:
        """Run one iteration on the clock alone: the same times, no pool, no memory records. Addresses do not depend on
        time, so that whoever runs one program often has its memory from `replay_memory`, once."""
        return _Run(self, program, None).timeline()


class _Engine:
    """An in-order queue of work, each with the time before which it may not begin."""

    def __init__(self, environment: simpy.Environment) -> None:
        self.environment = environment
        self.queue: deque[tuple[int, Any]] = deque()
        self.pending = 0
        self._wake: simpy.Event | None = None
        self._drained: simpy.Event | None = None

    def put(self, ready_at_ns: int, work: _KernelWork | _CopyWork) -> None:
        self.queue.append((ready_at_ns, work))
        self.pending += 1
        if self._wake is not None:
            self._wake.succeed()
            self._wake = None

    def until_work(self) -> simpy.Event:
        self._wake = self.environment.event()
        return self._wake

    def until_drained(self) -> simpy.Event:
        self._drained = self.environment.event()
        return self._drained

    def done(self) -> None:
        self.pending -= 1
        if not self.pending and self._drained is not None:
            self._drained.succeed()
            self._drained = None


class _Link:
    """The copies under way, and what slows them at this moment."""

    def __init__(self, gpu: GpuProfile) -> None:
        link = gpu.link
        self._both_ways_ppm = (link.both_ways_out_slowdown_ppm, link.both_ways_in_slowdown_ppm)
        self._kernel_ppm = _ALONE
        self._copying = [False, False]
        self._slowdowns = [PPM, PPM]
        self._told = [False, False]
        self.processes: list[simpy.Process] = []

    def kernel(self, slowdowns_ppm: tuple[int, int]) -> None:
        """A kernel with these slowdowns begins to run; `_ALONE` when it ends."""
        if slowdowns_ppm != self._kernel_ppm:
            self._kernel_ppm = slowdowns_ppm
            self._changed(_OUT)
            self._changed(_IN)

    def begin(self, direction: int) -> None:
        self._copying[direction] = True
        self._told[direction] = False
        self._slowdowns[direction] = self._slowdown(direction)
        self._changed(1 - direction)

    def end(self, direction: int) -> None:
        self._copying[direction] = False
        self._changed(1 - direction)

    def slowdown_ppm(self, direction: int) -> int:
        """The slowdown from now on; whoever asks has heard of all changes so far."""
        self._told[direction] = False
        return self._slowdowns[direction]

    def _slowdown(self, direction: int) -> int:
        slowdown = self._kernel_ppm[direction]
        if self._copying[1 - direction]:
            slowdown = slowdown * self._both_ways_ppm[direction] // PPM
        return slowdown

    def _changed(self, direction: int) -> None:
        if self._copying[direction]:
            slowdown = self._slowdown(direction)
            if slowdown != self._slowdowns[direction]:
                self._slowdowns[direction] = slowdown
                if not self._told[direction]:
                    # Once for all changes of one moment: a second interrupt could hit a process whose copy is over.
                    self._told[direction] = True
                    self.processes[direction].interrupt()


class _Run:
    """One iteration under way."""

    def __init__(self, machine: SimulatedMachine, program: Program, memory: DeviceMemory | None) -> None:
        self.machine = machine
        self.program = program
        self.device = memory
        self.environment = simpy.Environment()
        self.compute = _Engine(self.environment)
        self.copies = (_Engine(self.environment), _Engine(self.environment))
        self.streams = {
            Stream.COMPUTE: self.compute,
            Stream.COPY_OUT: self.copies[_OUT],
            Stream.COPY_IN: self.copies[_IN],
        }
        self.link = _Link(machine.gpu)
        self.kernel_records: list[KernelRecord] = []
        self.copy_records: list[CopyRecord] = []
        self.wait_records: list[WaitRecord] = []
        self.memory_records: list[MemoryRecord] = []
        self.host_ns = 0

    def timeline(self) -> Timeline:
        for buffer in self.program.setup:
            self._allocate(SETUP, buffer, "set-up")
        environment = self.environment
        environment.process(self._compute())
        self.link.processes = [environment.process(self._copy(direction)) for direction in (_OUT, _IN)]
        host = environment.process(self._host())
        environment.run(host)
        ends = step_ends_ns(len(self.program.steps), self.kernel_records, self.wait_records, self.host_ns)
        return Timeline(
            tuple(self.kernel_records),
            tuple(self.copy_records),
            tuple(self.wait_records),
            tuple(self.memory_records),
            ends,
            ends[-1] if ends else 0,
            self.device.pool.high_water_bytes if self.device else 0,
            self.device.largest_hole_at_peak() if self.device else 0,
        )

    def _host(self) -> _Process:
        """Gives commands at its own time `host_ns`, which runs ahead of the clock until it waits."""
        costs = self.machine.gpu.host
        for index, step in enumerate(self.program.steps):
            title = step.title
            for command in self.program.commands[step.first : step.last]:
                if isinstance(command, Allocate):
                    self.host_ns += costs.allocate_ns
                    self._allocate(index, command.buffer, title)
                elif isinstance(command, Free):
                    self.host_ns += costs.free_ns
                    self._free(index, command.buffer)
                elif isinstance(command, Kernel):
                    self._put_kernel(index, command)
                elif isinstance(command, Synchronise):
                    yield from self._synchronise(index, command)
                else:
                    self.host_ns += costs.copy_ns
                    self._put_copy(index, command)
        for engine in self.streams.values():
            if engine.pending:
                yield engine.until_drained()

    def _synchronise(self, index: int, command: Synchronise) -> _Process:
        begin_ns = self.host_ns
        stall_ns = 0
        for stream in command.streams:
            engine = self.streams[stream]
            if engine.pending:
                yield engine.until_drained()
                waited_ns = int(self.environment.now) - self.host_ns
                if waited_ns > 0:
                    self.host_ns += waited_ns
                    stall_ns += waited_ns if engine is not self.compute else 0
            self.host_ns += self.machine.gpu.host.synchronise_ns
        self.wait_records.append(WaitRecord(index, begin_ns, self.host_ns, stall_ns))

    def _allocate(self, index: int, buffer: Buffer, where: str) -> None:
        if self.device:
            self._remember(index, True, buffer, self.device.allocate(buffer, where))

    def _free(self, index: int, buffer: Buffer) -> None:
        if self.device:
            self._remember(index, False, buffer, self.device.free(buffer))

    def _remember(self, index: int, taken: bool, buffer: Buffer, address: int) -> None:
        name, size_bytes, memory_class, _, in_classifier = buffer
        self.memory_records.append(
            MemoryRecord(index, self.host_ns, taken, name, memory_class, in_classifier, address, size_bytes)
        )

    def _put_kernel(self, index: int, kernel: Kernel) -> None:
        row = self.machine.trace.row(kernel.layer, kernel.pass_, kernel.algorithm)
        called_ns = self.host_ns
        self.host_ns += self.machine.gpu.host.kernel_ns if row.launch_ns is None else row.launch_ns
        ready_at_ns = self.host_ns if row.start_ns is None else called_ns + row.start_ns
        slowdowns_ppm = (row.copy_out_slowdown_ppm, row.copy_in_slowdown_ppm)
        self.compute.put(ready_at_ns, _KernelWork(index, kernel, row.duration_ns, slowdowns_ppm))

    def _put_copy(self, index: int, command: CopyOut | CopyIn) -> None:
        direction = _OUT if isinstance(command, CopyOut) else _IN
        curve = self.machine.gpu.link.copy_in if direction else self.machine.gpu.link.copy_out
        alone_ns = curve.duration_ns(command.buffer.size_bytes)
        ready_at_ns = self.host_ns + self.machine.gpu.host.copy_start_ns
        self.copies[direction].put(ready_at_ns, _CopyWork(index, command.buffer, alone_ns))

    def _compute(self) -> _Process:
        environment, engine, link = self.environment, self.compute, self.link
        while True:
            if not engine.queue:
                yield engine.until_work()
            ready_at_ns, work = engine.queue.popleft()
            if ready_at_ns > environment.now:
                yield environment.timeout(ready_at_ns - environment.now)
            begin_ns = int(environment.now)
            link.kernel(work.slowdowns_ppm)
            yield environment.timeout(work.duration_ns)
            link.kernel(_ALONE)
            layer, pass_, algorithm, _, _ = work.kernel
            self.kernel_records.append(KernelRecord(work.step, layer, pass_, algorithm, begin_ns, int(environment.now)))
            engine.done()

    def _copy(self, direction: int) -> _Process:
        environment, engine, link = self.environment, self.copies[direction], self.link
        while True:
            if not engine.queue:
                yield engine.until_work()
            ready_at_ns, work = engine.queue.popleft()
            if ready_at_ns > environment.now:
                yield environment.timeout(ready_at_ns - environment.now)
            begin_ns = int(environment.now)
            link.begin(direction)
            remaining = work.alone_ns * _FINE
            while remaining > 0:
                slowdown_ppm = link.slowdown_ppm(direction)
                started_ns = int(environment.now)
                try:
                    yield environment.timeout(-(-remaining * slowdown_ppm // (_FINE * PPM)))
                    remaining = 0
                except simpy.Interrupt:
                    elapsed_ns = int(environment.now) - started_ns
                    remaining -= -(-elapsed_ns * _FINE * PPM // slowdown_ppm)  # rounded up: done in time is done
            link.end(direction)
            buffer = work.buffer
            self.copy_records.append(
                CopyRecord(
                    work.step,
                    _DIRECTIONS[direction],
                    buffer.name,
                    buffer.size_bytes,
                    begin_ns,
                    int(environment.now),
                    work.alone_ns,
                )
            )
            engine.done()
