"""The simulated machine: a SimPy process for the host, and the compute, copy-out and copy-in engines, which hear of
SimPy events: the ends of their work.

The host gives the program's commands one after the other, each at its cost, and runs ahead of the engines until
it synchronises. Each engine works its stream off in order. A copy's rate changes while it is under way: by the
slowdown that the running kernel's trace row states, and by the link's when both directions copy at once. All
times are integer nanoseconds, so that the same input gives the same timeline to the bit.

A kernel whose trace row says so costs the host its own launch time, and begins on an idle engine that row's start time
after its launch began; any other costs what the profile says and begins when its launch is done. A copy begins
the profile's copy start time after its call. Where the profile says so, the first call of each kind after a wait
costs more, and what the host does then is late (`after_wait`).

A piece of work costs one SimPy event: its end. Only where kernels slow copies, or copies each other, there are more:
for the begin of each that matters to another, and for each change of a copy's rate.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import simpy

from vdnnsim.gpu import GpuProfile, Link
from vdnnsim.machines.after_wait import Stretch, cold_stretches
from vdnnsim.machines.checking import check_program
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.script import ALONE, COMPUTE, IN, OUT, Awaited, Durations, Holds, Script, script_of
from vdnnsim.machines.simulated_timeline import Moments, Spans, Stalled, ends_by_step_ns, timeline_of
from vdnnsim.machines.stalls import stall_of
from vdnnsim.memory import Pool
from vdnnsim.network import Network
from vdnnsim.program import Program
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Trace
from vdnnsim.units import PPM

_Process = Generator[simpy.Event, Any, None]
_FINE = PPM * PPM
"""What remains of a copy is counted in this part of a nanosecond, so that changes of rate do not add up to one."""


@dataclass(frozen=True)
class SimulatedMachine:
    """A GPU that replays a trace."""

    trace: Trace
    gpu: GpuProfile

    def run(self, program: Program, pool: Pool) -> Timeline:
        """Run one iteration with memory from `pool`. Raises `OutOfMemory`."""
        return timeline_of(*self._clock(program), DeviceMemory(pool))

    def iteration_time_ns(self, program: Program) -> int:
        """How long one iteration takes, whatever its memory."""
        script, _, moments = self._clock(program)
        ends_ns = ends_by_step_ns(script, moments)
        return ends_ns[-1] if ends_ns else 0

    def _clock(self, program: Program) -> tuple[Script, Durations, Moments]:
        script = script_of(program, self.trace, self.gpu.host)
        durations = Durations(*script.copies_ns(self.gpu.link), [row.duration_ns for row in script.kernels])
        return script, durations, simulate(script, durations, self.gpu)

    def check(self, program: Program, pool: Pool, network: Network) -> Timeline:
        """As `run`, in the checking mode: raises `BrokenProgram`, too, for a program of this network that is right only
        by the luck of its times, or not at all."""
        check_program(network, program, DeviceMemory(type(pool)(pool.capacity_bytes)))
        return self.run(program, pool)


def simulate(script: Script, durations: Durations, gpu: GpuProfile) -> Moments:
    """Run one iteration on the clock alone. Addresses do not depend on time, so that whoever runs one script often,
    with other durations or behind another link, needs its memory only once."""
    return _Run(script, durations, gpu).moments()


class _Engine:
    """An in-order queue of work. `moment` is the next thing that happens on it; the host may wait for it, too, and
    hears of it second.

    For a piece of work that is its end, `lasts_ns` after its begin; what listens to more makes it something sooner.
    """

    def __init__(self, environment: simpy.Environment, lasts_ns: Sequence[int]) -> None:
        self.environment = environment
        self._next_lasts_ns = iter(lasts_ns).__next__
        self.pending = 0
        self.ready_ns: deque[int] = deque()
        self.begins_ns: list[int] = []
        self.ends_ns: list[int] = []
        self.stood: list[tuple[int, int]] = []
        """Pieces that stood still for work elsewhere, and from when on."""
        self.moment: simpy.Event
        self.happens: Callable[[Any], None] = self.over
        """Told of what `moment` stands for, where that is a begin or an end."""

    def put(self, ready_ns: list[int], from_ns: int) -> None:
        """More work, by how long after a time each piece is ready; none of them before now."""
        if self.pending:
            self.ready_ns.extend([from_ns + after_ns for after_ns in ready_ns])
            self.pending += len(ready_ns)
            return
        self.pending = len(ready_ns)
        if self.pending > 1:
            self.ready_ns.extend([from_ns + after_ns for after_ns in ready_ns[1:]])
        self._begin(from_ns + ready_ns[0], int(self.environment.now))

    def _begin(self, begin_ns: int, now_ns: int) -> None:
        self.begins_ns.append(begin_ns)
        then_ns = begin_ns + self._next_lasts_ns()
        self.moment = moment = self.environment.timeout(then_ns - now_ns, then_ns)
        moment.callbacks.append(self.happens)

    def over(self, moment: Any) -> None:
        """The piece at the head is over, and the next one begins as soon as it may."""
        now_ns = moment.value
        self.ends_ns.append(now_ns)
        self.pending -= 1
        if self.pending:
            begin_ns = self.ready_ns.popleft()
            self._begin(begin_ns if begin_ns > now_ns else now_ns, now_ns)

    def spans(self) -> Spans:
        return Spans(self.begins_ns, self.ends_ns)


class _Holding(_Engine):
    """An engine some of whose pieces may not begin before pieces of other engines are done: waits of streams."""

    def hold(self, held: Holds, engines: Sequence[_Engine]) -> None:
        """Which pieces, and the engines by number, all of which hold theirs."""
        self.held = held
        self.engines = [engine for engine in engines if isinstance(engine, _Holding)]
        self.waiting: dict[int, list[_Holding]] = {}
        self.missing = 0
        self.idle_ns = 0

    def _begin(self, begin_ns: int, now_ns: int) -> None:
        missing = self._missing(len(self.ends_ns))
        if missing:
            self._stand(begin_ns, missing)
        else:
            super()._begin(begin_ns, now_ns)

    def over(self, moment: Any) -> None:
        super().over(moment)
        for engine in self.waiting.pop(len(self.ends_ns), ()):
            engine._release(moment.value)

    def _missing(self, piece: int) -> list[Awaited]:
        awaited = self.held.get(piece, {})
        return [(engine, done) for engine, done in awaited.items() if len(self.engines[engine].ends_ns) < done]

    def _stand(self, idle_ns: int, missing: list[Awaited]) -> None:
        """The piece at the head could begin then, were it not for what is missing."""
        self.idle_ns = idle_ns
        self.missing = len(missing)
        self.moment = self.environment.event()  # when nothing is
        for engine, done in missing:
            self.engines[engine].waiting.setdefault(done, []).append(self)

    def _release(self, now_ns: int) -> None:
        """One of the missing pieces is done."""
        self.missing -= 1
        if self.missing:
            return
        if now_ns > self.idle_ns:
            self.stood.append((len(self.ends_ns), self.idle_ns))
        free = self.moment
        super()._begin(max(self.idle_ns, now_ns), now_ns)
        if free.callbacks:  # the host waits
            free.succeed()


class _Link:
    """The copies under way, and what slows them at this moment."""

    def __init__(self, link: Link) -> None:
        self._both_ways_ppm = (link.both_ways_out_slowdown_ppm, link.both_ways_in_slowdown_ppm)
        self._kernel_ppm = ALONE
        self._under_way: list[_SlowedCopies | None] = [None, None]

    def kernel(self, slowdowns_ppm: tuple[int, int]) -> None:
        """A kernel with these slowdowns begins to run; `ALONE` when it ends."""
        if slowdowns_ppm != self._kernel_ppm:
            self._kernel_ppm = slowdowns_ppm
            for direction in (OUT, IN):
                self._changed(direction)

    def begin(self, direction: int, copies: _SlowedCopies) -> None:
        self._under_way[direction] = copies
        self._changed(1 - direction)

    def end(self, direction: int) -> None:
        self._under_way[direction] = None
        self._changed(1 - direction)

    def slowdown_ppm(self, direction: int) -> int:
        """What slows a copy in this direction now."""
        slowdown = self._kernel_ppm[direction]
        if self._under_way[1 - direction]:
            slowdown = slowdown * self._both_ways_ppm[direction] // PPM
        return slowdown

    def _changed(self, direction: int) -> None:
        """What slows the copy under way in this direction, if there is one, may have changed."""
        copies = self._under_way[direction]
        if copies:
            copies.slowed_by(self.slowdown_ppm(direction))


class _SlowingKernels(_Engine):
    """Kernels of which some slow copies. Of those the first thing to happen is their begin: the link hears of it."""

    def __init__(
        self,
        environment: simpy.Environment,
        durations_ns: Sequence[int],
        slowdowns_ppm: Sequence[tuple[int, int]],
        link: _Link,
    ) -> None:
        self.kernels = list(zip(durations_ns, slowdowns_ppm, strict=True))
        super().__init__(environment, [0 if slows != ALONE else duration for duration, slows in self.kernels])
        self.link = link
        self.happens = self._begins

    def _begins(self, moment: Any) -> None:
        duration_ns, slowdowns_ppm = self.kernels[len(self.ends_ns)]
        if slowdowns_ppm == ALONE:
            self.over(moment)
            return
        self.link.kernel(slowdowns_ppm)
        self.moment = self.environment.timeout(duration_ns, moment.value + duration_ns)
        self.moment.callbacks.append(self._slowing_ends)

    def _slowing_ends(self, moment: Any) -> None:
        self.link.kernel(ALONE)
        self.over(moment)


class _SlowedCopies(_Engine):
    """Copies of one direction whose rate changes while they are under way, so that only their begin is known ahead."""

    def __init__(
        self, environment: simpy.Environment, durations_ns: Sequence[int], direction: int, link: _Link
    ) -> None:
        super().__init__(environment, [0] * len(durations_ns))
        self.durations_ns = durations_ns
        self.direction = direction
        self.link = link
        self._remaining = self._since_ns = self._slowdown_ppm = 0
        self._arrival: simpy.Event
        self.happens = self._begins

    def _begins(self, moment: Any) -> None:
        self.moment = self.environment.event()  # its end
        self.link.begin(self.direction, self)
        self._remaining = self.durations_ns[len(self.ends_ns)] * _FINE
        self._go_on(moment.value, self.link.slowdown_ppm(self.direction))

    def slowed_by(self, slowdown_ppm: int) -> None:
        """The rate of the copy under way is another from now on."""
        if slowdown_ppm == self._slowdown_ppm:
            return
        now_ns = int(self.environment.now)
        passed = -(-(now_ns - self._since_ns) * _FINE * PPM // self._slowdown_ppm)  # rounded up: done in time is done
        self._remaining = max(0, self._remaining - passed)
        self._arrival.callbacks.clear()
        self._go_on(now_ns, slowdown_ppm)

    def _go_on(self, now_ns: int, slowdown_ppm: int) -> None:
        self._since_ns, self._slowdown_ppm = now_ns, slowdown_ppm
        left_ns = -(-self._remaining * slowdown_ppm // (_FINE * PPM))
        self._arrival = self.environment.timeout(left_ns, now_ns + left_ns)
        self._arrival.callbacks.append(self._arrives)

    def _arrives(self, arrival: Any) -> None:
        self.link.end(self.direction)
        ended = self.moment
        self.over(arrival)
        if ended.callbacks:  # the host waits
            ended.succeed()


class _HoldingKernels(_Holding, _SlowingKernels):
    """Both at once."""


class _HoldingCopies(_Holding, _SlowedCopies):
    """Both at once."""


class _Run:
    """One iteration under way."""

    def __init__(self, script: Script, durations: Durations, gpu: GpuProfile) -> None:
        self.script = script
        self.synchronise_ns = gpu.host.synchronise_ns
        self.after_wait = gpu.host.after_wait
        self.memory_offsets_ns = script.memory.offsets_ns
        self.environment = simpy.Environment()
        self.engines = _engines(self.environment, script, durations, gpu.link)
        self.host_ns = 0
        self.wait_begins_ns: list[int] = []
        self.wait_ends_ns: list[int] = []
        self.stalls: list[Stalled] = []

    def moments(self) -> Moments:
        self.environment.run(self.environment.process(self._host()))
        kernels, outs, ins = (self.engines[number].spans() for number in (COMPUTE, OUT, IN))
        waits = Spans(self.wait_begins_ns, self.wait_ends_ns)
        stalls = self.stalls
        if self.engines[COMPUTE].stood:
            stalls = sorted((*stalls, *self._held_kernels()), key=attrgetter("stall.begin_ns"))
        return Moments(kernels, outs, ins, waits, stalls, self.host_ns, self.memory_offsets_ns)

    def _host(self) -> _Process:
        """Gives work at its own time, which runs ahead of the clock until it waits. Whatever it gives before a wait is
        put on the engines at once: none of it is ready before the host has got there."""
        copy_out, copy_in, compute = engines = self.engines
        begins_ns, ends_ns, synchronise_ns = self.wait_begins_ns, self.wait_ends_ns, self.synchronise_ns
        host_ns = 0
        for calls_ns, waited, outs, ins, kernels in self._stretches():
            if kernels:
                compute.put(kernels, host_ns)
            if outs:
                copy_out.put(outs, host_ns)
            if ins:
                copy_in.put(ins, host_ns)
            host_ns += calls_ns
            if waited is None:
                break
            begin_ns = host_ns
            begins_ns.append(begin_ns)
            copies = []
            for number, done in waited:
                engine = engines[number]
                while len(engine.ends_ns) < done:
                    yield engine.moment
                if done:
                    end_ns = engine.ends_ns[done - 1]
                    if end_ns > host_ns:
                        host_ns = end_ns
                    if number != COMPUTE and end_ns > begin_ns:
                        copies.append((end_ns, number))  # only what ended since may have held anything up
                host_ns += synchronise_ns
            if copies and not compute.pending:
                self._stall(begin_ns, copies, dict(waited))
            ends_ns.append(host_ns)
        self.host_ns = host_ns
        for engine in engines:
            while engine.pending:
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
            copies_end_ns = [(self.engines[number].ends_ns[done - 1], number) for number, done in awaited.items()]
            stall = stall_of(idle_ns, 0, copies_end_ns)
            if stall is not None:
                yield Stalled(compute.steps[kernel], False, stall, awaited[stall.engine] - 1)

    def _stretches(self) -> Iterable[Stretch]:
        """What the host gives from wait to wait; late, where the profile says that its calls go cold meanwhile."""
        script = self.script
        stretches = zip(script.calls_ns, script.waits, *(work.ready_ns for work in script.work), strict=True)
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


def _engines(
    environment: simpy.Environment, script: Script, durations: Durations, link: Link
) -> tuple[_Engine, _Engine, _Engine]:
    """The engines by number."""
    holding = any(script.holds)
    outs: _Engine
    ins: _Engine
    kernels: _Engine
    if script.slows_copies(link):
        slowed = _Link(link)
        slowed_copies = _HoldingCopies if holding else _SlowedCopies
        outs = slowed_copies(environment, durations.outs_ns, OUT, slowed)
        ins = slowed_copies(environment, durations.ins_ns, IN, slowed)
        slowing_kernels = _HoldingKernels if holding else _SlowingKernels
        kernels = slowing_kernels(environment, durations.kernels_ns, script.slowdowns_ppm, slowed)
    else:
        outs, ins, kernels = ((_Holding if holding else _Engine)(environment, lasts_ns) for lasts_ns in durations)
    engines = (outs, ins, kernels)
    for engine, held in zip(engines, script.holds, strict=True):
        if isinstance(engine, _Holding):
            engine.hold(held, engines)
    return engines
