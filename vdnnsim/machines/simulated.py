"""The simulated machine: a SimPy process for the host, and the compute, copy-out and copy-in engines, with NVMe's where
one is used, which hear of SimPy events: the ends of their work.

The host gives the program's commands one after the other, each at its cost, and runs ahead of the engines until
it synchronises. Each engine works its stream off in order (`simulated_engines`). All times are integer nanoseconds, so
that the same input gives the same timeline to the bit.

A kernel whose trace row says so costs the host its own launch time, and begins on an idle engine that row's start time
after its launch began; any other costs what the profile says and begins when its launch is done. A copy begins
the profile's copy start time after its call. Where the profile says so, the first call of each kind after a wait
costs more, and what the host does then is late (`after_wait`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import simpy

from vdnnsim.gpu import GpuProfile
from vdnnsim.machines.after_wait import Stretch, cold_stretches
from vdnnsim.machines.beside import Beside
from vdnnsim.machines.checking import check_program
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.script import COMPUTE, IN, OUT, WRITE, Durations, Script, script_of
from vdnnsim.machines.simulated_engines import make_engines
from vdnnsim.machines.simulated_timeline import Moments, Spans, Stalled, ends_by_step_ns, timeline_of
from vdnnsim.machines.stalls import stall_of
from vdnnsim.memory import Pool
from vdnnsim.network import Network
from vdnnsim.program import Program
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Trace

_Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class SimulatedMachine:
    """A GPU that replays a trace."""

    trace: Trace
    gpu: GpuProfile

    def run(self, program: Program, memory: Pool | DeviceMemory) -> Timeline:
        """Run one iteration with memory from a pool, or in memory that holds something. Raises `OutOfMemory`."""
        memory = memory if isinstance(memory, DeviceMemory) else DeviceMemory(memory)
        script = self._script(program)
        return timeline_of(script, *_clock(script, self.gpu), memory)

    def iteration_time_ns(self, program: Program) -> int:
        """How long one iteration takes, whatever its memory."""
        return self.time_behind(program)(self.gpu)

    def time_behind(self, program: Program) -> Callable[[GpuProfile], int]:
        """The same of GPUs that differ from this one in their link alone, for whoever asks for many."""
        script = self._script(program)

        def time_ns(gpu: GpuProfile) -> int:
            ends_ns = ends_by_step_ns(script, _clock(script, gpu)[1])
            return ends_ns[-1] if ends_ns else 0

        return time_ns

    def _script(self, program: Program) -> Script:
        return script_of(program, self.trace, self.gpu.host)

    def check(self, program: Program, pool: Pool, network: Network) -> Timeline:
        """As `run`, in the checking mode: raises `BrokenProgram`, too, for a program of this network that is right only
        by the luck of its times, or not at all."""
        check_program(network, program, DeviceMemory(type(pool)(pool.capacity_bytes)))
        return self.run(program, pool)


def _clock(script: Script, gpu: GpuProfile) -> tuple[Durations, Moments]:
    durations = script.durations(gpu)
    return durations, simulate(script, durations, gpu)


def simulate(script: Script, durations: Durations, gpu: GpuProfile) -> Moments:
    """Run one iteration on the clock alone. Addresses do not depend on time, so that whoever runs one script often,
    with other durations or behind another link, needs its memory only once."""
    environment = simpy.Environment()
    iteration = UnderWay(environment, script, durations, gpu)
    environment.run(environment.process(iteration.process()))
    return iteration.moments()


class UnderWay:
    """One iteration under way, begun so long after the clock."""

    def __init__(
        self,
        environment: simpy.Environment,
        script: Script,
        durations: Durations,
        gpu: GpuProfile,
        others: Beside | None = None,
        start_ns: int = 0,
    ) -> None:
        self.script = script
        self.start_ns = start_ns
        self.synchronise_ns = gpu.host.synchronise_ns
        self.after_wait = gpu.host.after_wait
        self.memory_offsets_ns = script.memory.offsets_ns
        self.environment = environment
        self.engines = make_engines(environment, script, durations, gpu, others)
        self.host_ns = 0
        self.wait_begins_ns: list[int] = []
        self.wait_ends_ns: list[int] = []
        self.stalls: list[Stalled] = []

    def moments(self) -> Moments:
        """When everything was, once the process has ended."""
        kernels, outs, ins = (self.engines[number].spans() for number in (COMPUTE, OUT, IN))
        nvme = [engine.spans() for engine in self.engines[WRITE:]]
        waits = Spans(self.wait_begins_ns, self.wait_ends_ns)
        stalls = self.stalls
        if self.engines[COMPUTE].stood:
            stalls = sorted((*stalls, *self._held_kernels()), key=attrgetter("stall.begin_ns"))
        return Moments(kernels, outs, ins, waits, stalls, self.host_ns, self.memory_offsets_ns, *nvme)

    def process(self) -> _Process:
        """The host. Gives work at its own time, which runs ahead of the clock until it waits. Whatever it gives before
        a wait is put on the engines at once: none of it is ready before the host has got there. The clock stands at
        `now_ns`, when what the host waited for last was there."""
        copy_out, copy_in, compute, *nvme = engines = self.engines
        on_nvme = list(zip(nvme, self.script.work[WRITE:], strict=True)) if self.script.writes else []
        begins_ns, ends_ns, synchronise_ns = self.wait_begins_ns, self.wait_ends_ns, self.synchronise_ns
        host_ns = now_ns = self.start_ns
        if now_ns:
            yield self.environment.timeout(now_ns)
        copies: list[tuple[int, int]] = []
        for calls_ns, waited, outs, ins, kernels in self._stretches():
            if kernels:
                compute.put(kernels, host_ns, now_ns)
            if outs:
                copy_out.put(outs, host_ns, now_ns)
            if ins:
                copy_in.put(ins, host_ns, now_ns)
            for engine, work in on_nvme:
                if ready_ns := work.ready_ns[len(ends_ns)]:
                    engine.put(ready_ns, host_ns, now_ns)
            host_ns += calls_ns
            if waited is None:
                break
            begin_ns = host_ns
            begins_ns.append(begin_ns)
            copies.clear()
            for number, done in waited:
                engine = engines[number]
                while len(engine.ends_ns) < done:
                    now_ns = yield engine.moment
                if done:
                    end_ns = engine.ends_ns[done - 1]
                    if end_ns > host_ns:
                        host_ns = end_ns
                    if number < COMPUTE and end_ns > begin_ns:
                        copies.append((end_ns, number))  # only what ended since may have held anything up
                host_ns += synchronise_ns
            if copies and not compute.busy:
                self._stall(begin_ns, copies, dict(waited))
            ends_ns.append(host_ns)
        self.host_ns = host_ns
        for engine in engines:
            while engine.busy:
                yield engine.moment
        given = {number: len(engines[number].ends_ns) for number in (OUT, IN)}
        ended = [(engines[number].ends_ns[-1], number) for number in (OUT, IN) if given[number]]
        if ended:
            self._stall(host_ns, ended, given)

    def _stall(self, begin_ns: int, copies_end_ns: Sequence[tuple[int, int]], done: dict[int, int]) -> None:
        """Notes by how much a wait that began then, for copies that ended at these (time, engine), has held up the
        compute engine, which is through with what it was given. So many of each engine were `done`."""
        kernels_ns = self.engines[COMPUTE].ends_ns
        stall = stall_of(begin_ns, kernels_ns[-1] if kernels_ns else 0, copies_end_ns)
        if stall is not None:
            number = len(self.wait_ends_ns)
            steps = self.script.wait_steps
            in_wait = number < len(steps)
            step = steps[number] if in_wait else len(self.script.program.steps) - 1
            self.stalls.append(Stalled(step, in_wait, stall, done[stall.engine] - 1))

    def _held_kernels(self) -> Iterable[Stalled]:
        """The stalls of kernels that stood still for copies, by the same rule."""
        compute = self.script.work[COMPUTE]
        for kernel, idle_ns in self.engines[COMPUTE].stood:
            awaited = self.script.holds[COMPUTE][kernel]
            copies_end_ns = [
                (self.engines[number].ends_ns[done - 1], number) for number, done in awaited.items() if number < COMPUTE
            ]
            stall = stall_of(idle_ns, 0, copies_end_ns)
            if stall is not None:
                yield Stalled(compute.steps[kernel], False, stall, awaited[stall.engine] - 1)

    def _stretches(self) -> Iterable[Stretch]:
        """What the host gives from wait to wait; late, where the profile says that its calls go cold meanwhile."""
        script = self.script
        stretches = zip(script.calls_ns, script.waits, *(work.ready_ns for work in script.work[:WRITE]), strict=True)
        if self.after_wait is None:
            return stretches
        self.memory_offsets_ns = script.memory.offsets_ns.copy()
        return cold_stretches(
            stretches, script.first_calls, self.after_wait, self._last_wait_ns, self.memory_offsets_ns
        )

    def _last_wait_ns(self) -> int:
        """How long the host stood before engines at its last wait: its own costs of the synchronise left out."""
        awaited = self.script.waits[len(self.wait_ends_ns) - 1] or ()
        return self.wait_ends_ns[-1] - self.wait_begins_ns[-1] - len(awaited) * self.synchronise_ns
