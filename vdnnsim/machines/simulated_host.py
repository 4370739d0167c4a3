"""Several simulated GPUs of one host in one simulation: each runs a program of its own, and their copies share links.

A copy asks for what it would reach by itself: its bytes over the time that the GPU's link takes for it, less what a
kernel beside it and a copy the other way take of that. Whenever what is asked for changes, shares are dealt out anew
(`fair_shares`), once for all that happens at that nanosecond, and a copy is slowed by what it asks for over what it
gets. A GPU that shares nothing runs as `simulated` has it, to the nanosecond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import simpy

from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile
from vdnnsim.machines.beside import Beside, Rated
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.fair_shares import Sharing
from vdnnsim.machines.script import IN, OUT, Durations, Script, script_of
from vdnnsim.machines.simulated import UnderWay
from vdnnsim.machines.simulated_timeline import Moments, Spans, ends_by_step_ns, timeline_of
from vdnnsim.machines.stalls import Stall
from vdnnsim.program import Program
from vdnnsim.timeline import Timeline
from vdnnsim.topology import Topology
from vdnnsim.trace import Trace
from vdnnsim.units import PPM


class Seat(NamedTuple):
    """What one GPU of a host runs, and how long after the first it begins."""

    script: Script
    durations: Durations
    gpu: GpuProfile
    start_ns: int = 0


@dataclass(frozen=True)
class SimulatedHost:
    """Several equal GPUs that replay a trace, on the links of a host."""

    trace: Trace
    gpu: GpuProfile
    topology: Topology

    def run(self, program: Program, memory: Callable[[], DeviceMemory], starts_ns: Sequence[int]) -> list[Timeline]:
        """One iteration of the same program on each GPU of the topology, in memory that each finds alike; each timeline
        begins with the GPU's own iteration. Raises `OutOfMemory`."""
        seats = self._seats(program, starts_ns)
        moments = simulate_together(seats, self.topology)
        made: dict[int, Timeline] = {}
        for seat, own in zip(seats, moments, strict=True):
            if id(own) not in made:
                made[id(own)] = timeline_of(seat.script, seat.durations, own, memory())
        return [made[id(own)] for own in moments]

    def iteration_times_ns(self, program: Program, starts_ns: Sequence[int]) -> list[int]:
        """How long the iteration of each GPU takes, whatever its memory."""
        seats = self._seats(program, starts_ns)
        ends_ns = (
            ends_by_step_ns(seat.script, moments)
            for seat, moments in zip(seats, simulate_together(seats, self.topology), strict=True)
        )
        return [ends[-1] if ends else 0 for ends in ends_ns]

    def _seats(self, program: Program, starts_ns: Sequence[int]) -> list[Seat]:
        script = script_of(program, self.trace, self.gpu.host)
        durations = script.durations(self.gpu)
        return [Seat(script, durations, self.gpu, start_ns) for start_ns in starts_ns]


def simulate_together(seats: Sequence[Seat], topology: Topology) -> list[Moments]:
    """One iteration of each seat on the clock alone; each GPU's moments count from its own start. The topology has as
    many GPUs as there are seats. Where some run alike, one stands for all: equal GPUs that hang on one link and begin
    together, whose copies then count so many times, and groups that share nothing with each other and are alike."""
    if any(seat.script.writes for seat in seats):
        raise InvalidInput(
            f"gpus: found {len(seats)} and tensors on NVMe, expected one GPU: what shares a drive is not modelled"
        )
    environment = simpy.Environment()
    stands_for: dict[int, int] = {}
    under_way: dict[int, UnderWay] = {}
    models: dict[object, Sequence[int]] = {}
    sharing = topology.sharing()
    by_itself = sorted(set(range(len(seats))).difference(*sharing))
    for gpus in [*sharing, *([gpu] for gpu in by_itself)]:
        model = models.setdefault((topology.shape(gpus), tuple(_same(seats[gpu]) for gpu in gpus)), gpus)
        if model is not gpus:
            stands_for |= {gpu: stands_for[like] for gpu, like in zip(gpus, model, strict=True)}
            continue
        first: dict[object, int] = {}
        stands_for |= {gpu: first.setdefault((topology.gpus[gpu], _same(seats[gpu])), gpu) for gpu in gpus}
        counts = Counter(stands_for[gpu] for gpu in gpus)
        links = _SharedLinks(environment, Sharing(topology))
        links.ports = [_BesideOthers(seats[gpu], gpu, count, links) for gpu, count in counts.items()]
        for port in links.ports:
            seat = seats[port.gpu]
            others = port if gpus in sharing else None
            under_way[port.gpu] = UnderWay(environment, *seat[:3], others, seat.start_ns)
    environment.run(environment.all_of([environment.process(one.process()) for one in under_way.values()]))
    moments = {gpu: _earlier(one.moments(), seats[gpu].start_ns) for gpu, one in under_way.items()}
    return [moments[stands_for[gpu]] for gpu in range(len(seats))]


def _same(seat: Seat) -> tuple[int, ...]:
    """Equal for seats that run the same from the same moment on."""
    return seat.start_ns, id(seat.script), id(seat.durations), id(seat.gpu)


class _SharedLinks:
    """The copies under way on GPUs that depend on each other."""

    def __init__(self, environment: simpy.Environment, sharing: Sharing) -> None:
        self.ports: list[_BesideOthers] = []
        self._environment = environment
        self._sharing = sharing
        self._settles = False

    def changed(self) -> None:
        """Something that is asked for has changed: it is settled behind all that happens at this nanosecond already."""
        if not self._settles:
            self._settles = True
            self._environment.timeout(0).callbacks.append(self._settle)

    def _settle(self, _moment: Any) -> None:
        self._settles = False
        asked = [(port, direction) for port in self.ports for direction in (OUT, IN) if port.copies(direction)]
        slowdowns_ppm = self._sharing.slowdowns_ppm(
            [((port.gpu, direction), port.demand_bytes_per_s(direction), port.count) for port, direction in asked]
        )
        for (port, direction), slowdown_ppm in zip(asked, slowdowns_ppm, strict=True):
            port.share(direction, slowdown_ppm)


class _BesideOthers(Beside):
    """See `Beside`: what slows the copies of a GPU, and of all that it stands for, whose links others use as well."""

    def __init__(self, seat: Seat, gpu: int, count: int, links: _SharedLinks) -> None:
        super().__init__(seat.gpu.link)
        self.gpu = gpu
        self.count = count
        self._links = links
        self._rates = (
            _alone_bytes_per_s([buffer.size_bytes for buffer in seat.script.outs], seat.durations.outs_ns),
            _alone_bytes_per_s([buffer.size_bytes for buffer in seat.script.ins], seat.durations.ins_ns),
        )
        self._begun = [0, 0]
        self._shared_ppm = [PPM, PPM]

    def copies(self, direction: int) -> bool:
        """Whether a copy is under way in this direction."""
        return self._copies[direction] is not None

    def demand_bytes_per_s(self, direction: int) -> int:
        """What the copy under way would reach were there no other GPU."""
        alone = self._rates[direction][self._begun[direction] - 1]
        return alone * PPM // super().copy_slowdown_ppm(direction)

    def share(self, direction: int, slowdown_ppm: int) -> None:
        """The others leave the copy under way so much less than it asks for."""
        if slowdown_ppm != self._shared_ppm[direction]:
            self._shared_ppm[direction] = slowdown_ppm
            super()._changed(direction)

    def begin(self, direction: int, copies: Rated) -> None:
        """As `Beside.begin`."""
        self._begun[direction] += 1
        self._shared_ppm[direction] = PPM
        super().begin(direction, copies)
        self._links.changed()

    def end(self, direction: int) -> None:
        """As `Beside.end`."""
        super().end(direction)
        self._links.changed()

    def copy_slowdown_ppm(self, direction: int) -> int:
        """As `Beside.copy_slowdown_ppm`."""
        return super().copy_slowdown_ppm(direction) * self._shared_ppm[direction] // PPM

    def _changed(self, direction: int) -> None:
        super()._changed(direction)
        if self._copies[direction]:
            self._links.changed()


def _alone_bytes_per_s(sizes_bytes: Sequence[int], durations_ns: Sequence[int]) -> list[int]:
    pairs = zip(sizes_bytes, durations_ns, strict=True)
    return [max(1, size_bytes * 10**9 // max(1, duration_ns)) for size_bytes, duration_ns in pairs]


def _earlier(moments: Moments, by_ns: int) -> Moments:
    """The same on a clock that starts later."""
    if not by_ns:
        return moments
    return moments._replace(
        kernels=_spans(moments.kernels, by_ns),
        outs=_spans(moments.outs, by_ns),
        ins=_spans(moments.ins, by_ns),
        waits=_spans(moments.waits, by_ns),
        stalls=[
            stalled._replace(
                stall=Stall(stalled.stall.begin_ns - by_ns, stalled.stall.end_ns - by_ns, stalled.stall.engine)
            )
            for stalled in moments.stalls
        ],
        host_end_ns=moments.host_end_ns - by_ns,
    )


def _spans(spans: Spans, by_ns: int) -> Spans:
    return Spans([begin - by_ns for begin in spans.begins_ns], [end - by_ns for end in spans.ends_ns])
