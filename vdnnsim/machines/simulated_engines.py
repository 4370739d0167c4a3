"""The engines of the simulated machine: in-order queues of work that hear of SimPy events, the ends of their work.

A piece of work costs one event: its end. Only where kernels slow copies, or copies each other or kernels, there are
more: for the begin of each that matters to another, and for each change of a rate. A copy's rate changes while it is
under way: by the slowdown that the running kernel's trace row states, and by the link's when both directions copy at
once; a kernel's by the link's for its class, for each direction that copies. A rate depends on what is under way, never
on how fast that goes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import simpy

from vdnnsim.gpu import GpuProfile, Link
from vdnnsim.machines.beside import Beside
from vdnnsim.machines.script import ALONE, IN, OUT, WRITE, Awaited, Durations, Holds, Script
from vdnnsim.machines.simulated_timeline import Spans
from vdnnsim.units import PPM

_FINE = PPM * PPM
"""What remains of a piece is counted in this part of a nanosecond, so that changes of rate do not add up to one."""


class Engine:
    """An in-order queue of work. `moment` is the next thing that happens on it; the host may wait for it, too, and
    hears of it second.

    For a piece of work that is its end, `lasts_ns` after its begin; what listens to more makes it something sooner.
    """

    def __init__(self, environment: simpy.Environment, lasts_ns: Sequence[int]) -> None:
        self.environment = environment
        self._timeout = environment.timeout
        self._next_lasts_ns = iter(lasts_ns).__next__
        self.busy = False
        self.ready_ns: deque[int] = deque()
        self.begins_ns: list[int] = []
        self.ends_ns: list[int] = []
        self.stood: list[tuple[int, int]] = []
        """Pieces that stood still for work elsewhere, and from when on."""
        self.moment: simpy.Event
        self.then_ns = 0
        """When `moment` comes, and while it is told when it has come."""
        self.happens: Callable[[Any], None] = self.over
        """Told of what `moment` stands for, where that is a begin or an end."""

    def put(self, ready_ns: list[int], from_ns: int, now_ns: int) -> None:
        """More work, by how long after a time each piece is ready; none of them before now."""
        if self.busy:
            self.ready_ns.extend([from_ns + after_ns for after_ns in ready_ns])
            return
        self.busy = True
        if len(ready_ns) > 1:
            self.ready_ns.extend([from_ns + after_ns for after_ns in ready_ns[1:]])
        self._begin(from_ns + ready_ns[0], now_ns)

    def _begin(self, begin_ns: int, now_ns: int) -> None:
        self.begins_ns.append(begin_ns)
        self.then_ns = then_ns = begin_ns + self._next_lasts_ns()
        self.moment = moment = self._timeout(then_ns - now_ns, then_ns)
        moment.callbacks.append(self.happens)

    def over(self, _moment: Any) -> None:
        """The piece at the head is over, and the next one begins as soon as it may."""
        now_ns = self.then_ns
        self.ends_ns.append(now_ns)
        if self.ready_ns:
            begin_ns = self.ready_ns.popleft()
            self._begin(begin_ns if begin_ns > now_ns else now_ns, now_ns)
        else:
            self.busy = False

    def spans(self) -> Spans:
        return Spans(self.begins_ns, self.ends_ns)


class _Holding(Engine):
    """An engine some of whose pieces may not begin before pieces of other engines are done: waits of streams."""

    def hold(self, held: Holds, engines: Sequence[Engine], start_ns: int) -> None:
        """Which pieces, and the engines by number, all of which hold theirs; and how long after what it waited for a
        piece begins at the earliest."""
        self.held = held
        self.start_ns = start_ns
        self.engines = [engine for engine in engines if isinstance(engine, _Holding)]
        self.waiting: dict[int, list[_Holding]] = {}
        self.missing = 0
        self.idle_ns = 0

    def _begin(self, begin_ns: int, now_ns: int) -> None:
        awaited = self.held.get(len(self.ends_ns))
        if awaited:
            missing = [(engine, done) for engine, done in awaited.items() if len(self.engines[engine].ends_ns) < done]
            if missing:
                self._stand(begin_ns, missing)
                return
            if self.start_ns:
                done_ns = max(self.engines[engine].ends_ns[done - 1] for engine, done in awaited.items())
                begin_ns = max(begin_ns, done_ns + self.start_ns)
        super()._begin(begin_ns, now_ns)

    def over(self, moment: Any) -> None:
        now_ns = self.then_ns
        super().over(moment)
        for engine in self.waiting.pop(len(self.ends_ns), ()):
            engine._release(now_ns)

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
        super()._begin(max(self.idle_ns, now_ns + self.start_ns), now_ns)
        if free.callbacks:  # the host waits
            free.succeed(now_ns)


class _SlowingKernels(Engine):
    """Kernels of which some slow copies. Of those the first thing to happen is their begin: copies hear of it."""

    def __init__(
        self,
        environment: simpy.Environment,
        durations_ns: Sequence[int],
        slowdowns_ppm: Sequence[tuple[int, int]],
        beside: Beside,
    ) -> None:
        self.kernels = list(zip(durations_ns, slowdowns_ppm, strict=True))
        super().__init__(environment, [0 if slows != ALONE else duration for duration, slows in self.kernels])
        self.beside = beside
        self.happens = self._begins

    def _begins(self, moment: Any) -> None:
        duration_ns, slowdowns_ppm = self.kernels[len(self.ends_ns)]
        if slowdowns_ppm == ALONE:
            self.over(moment)
            return
        self.beside.slowing(slowdowns_ppm)
        self.then_ns += duration_ns
        self.moment = self.environment.timeout(duration_ns, self.then_ns)
        self.moment.callbacks.append(self._slowing_ends)

    def _slowing_ends(self, moment: Any) -> None:
        self.beside.slowing(ALONE)
        self.over(moment)


class _Slowed(Engine, ABC):
    """Pieces whose rate changes while they are under way, so that only their begin is known ahead."""

    def __init__(self, environment: simpy.Environment, durations_ns: Sequence[int], beside: Beside) -> None:
        super().__init__(environment, [0] * len(durations_ns))
        self.durations_ns = durations_ns
        self.beside = beside
        self._remaining = self._since_ns = self._slowdown_ppm = 0
        self._arrival: simpy.Event
        self.happens = self._begins

    @abstractmethod
    def begun(self) -> int:
        """Tells the others that the piece at the head begins, and what slows it."""

    @abstractmethod
    def ended(self) -> None:
        """Tells the others that the piece at the head has ended."""

    def _begins(self, _moment: Any) -> None:
        self.moment = self.environment.event()  # its end
        slowdown_ppm = self.begun()
        self._remaining = self.durations_ns[len(self.ends_ns)] * _FINE
        self._go_on(self.then_ns, slowdown_ppm)

    def slowed_by(self, slowdown_ppm: int) -> None:
        """The rate of the piece under way is another from now on."""
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
        self.then_ns = now_ns + left_ns
        self._arrival = self.environment.timeout(left_ns)
        self._arrival.callbacks.append(self._arrives)

    def _arrives(self, arrival: Any) -> None:
        self.ended()
        moment = self.moment
        self.over(arrival)
        if moment.callbacks:  # the host waits
            moment.succeed(self.ends_ns[-1])


class _SlowedCopies(_Slowed):
    """Copies of one direction."""

    def __init__(
        self, environment: simpy.Environment, durations_ns: Sequence[int], direction: int, beside: Beside
    ) -> None:
        super().__init__(environment, durations_ns, beside)
        self.direction = direction

    def begun(self) -> int:
        self.beside.begin(self.direction, self)
        return self.beside.copy_slowdown_ppm(self.direction)

    def ended(self) -> None:
        self.beside.end(self.direction)


class _SlowedKernels(_Slowed):
    """Kernels of which copies slow some; they may slow copies, too."""

    def __init__(
        self,
        environment: simpy.Environment,
        durations_ns: Sequence[int],
        slowdowns_ppm: Sequence[tuple[int, int]],
        slowed_ppm: Sequence[tuple[int, int]],
        beside: Beside,
    ) -> None:
        super().__init__(environment, durations_ns, beside)
        self.kernels = list(zip(slowdowns_ppm, slowed_ppm, strict=True))

    def begun(self) -> int:
        slows_ppm, slowed_ppm = self.kernels[len(self.ends_ns)]
        self.beside.run(self, slowed_ppm)
        self.beside.slowing(slows_ppm)
        return self.beside.kernel_slowdown_ppm(slowed_ppm)

    def ended(self) -> None:
        self.beside.run(None)
        self.beside.slowing(ALONE)


class _HoldingKernels(_Holding, _SlowingKernels):
    """Both at once."""


class _HoldingSlowedKernels(_Holding, _SlowedKernels):
    """Both at once."""


class _HoldingCopies(_Holding, _SlowedCopies):
    """Both at once."""


def make_engines(
    environment: simpy.Environment,
    script: Script,
    durations: Durations,
    gpu: GpuProfile,
    others: Beside | None = None,
) -> tuple[Engine, ...]:
    """The engines by number; where copies share links with those of other GPUs, `others` knows."""
    holding = any(script.holds)
    engines: tuple[Engine, ...] = _make(environment, script, durations, gpu.link, holding, others)
    of_nvme = _Holding if holding else Engine
    engines += (of_nvme(environment, durations.writes_ns), of_nvme(environment, durations.reads_ns))
    for number, engine in enumerate(engines):
        if isinstance(engine, _Holding):
            starts_ns = gpu.host.stream_start_ns if number < WRITE else 0  # a thread's, which its latency has
            engine.hold(script.holds[number], engines, starts_ns)
    return engines


def _make(
    environment: simpy.Environment,
    script: Script,
    durations: Durations,
    link: Link,
    holding: bool,
    others: Beside | None,
) -> tuple[Engine, Engine, Engine]:
    slowed_by_copies = script.slowed_by_copies(link)
    if others is None and not (slowed_by_copies or script.slows_copies(link)):
        outs, ins, kernels = (
            (_Holding if holding else Engine)(environment, lasts_ns) for lasts_ns in durations[:WRITE]
        )
        return outs, ins, kernels
    beside = others or Beside(link)
    copies = _HoldingCopies if holding else _SlowedCopies
    slowed_outs, slowed_ins = (
        copies(environment, lasts_ns, direction, beside)
        for lasts_ns, direction in ((durations.outs_ns, OUT), (durations.ins_ns, IN))
    )
    slowdowns_ppm = script.slowdowns_ppm
    if slowed_by_copies:
        slowed = _HoldingSlowedKernels if holding else _SlowedKernels
        slowed_ppm = script.kernels_slowed_ppm(link)
        return (
            slowed_outs,
            slowed_ins,
            slowed(environment, durations.kernels_ns, slowdowns_ppm, slowed_ppm, beside),
        )
    slowing = _HoldingKernels if holding else _SlowingKernels
    return slowed_outs, slowed_ins, slowing(environment, durations.kernels_ns, slowdowns_ppm, beside)
