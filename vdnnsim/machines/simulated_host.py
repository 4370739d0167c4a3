"""Several simulated GPUs of one host in one simulation: each runs a program of its own, and their copies share links.

A copy asks for what it would reach by itself: its bytes over the time that the GPU's link takes for it, less what a
kernel beside it and a copy the other way take of that. Whenever what is asked for changes, shares are dealt out anew
(`fair_shares`), once for all that happens at that nanosecond, and a copy is slowed by what it asks for over what it
gets. A GPU that shares nothing runs as `simulated` has it, to the nanosecond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import simpy

from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile
from vdnnsim.machines.beside import Beside, Rated
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.fair_shares import Load, Sharing
from vdnnsim.machines.script import ALONE, IN, OUT, Durations, Script, script_of
from vdnnsim.machines.simulated import UnderWay
from vdnnsim.machines.simulated_timeline import Moments, Spans, ends_by_step_ns, timeline_of
from vdnnsim.machines.stalls import Stall
from vdnnsim.program import Program
from vdnnsim.timeline import Timeline
from vdnnsim.topology import Most, Topology
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
    if len(seats) > 1 and any(seat.script.writes for seat in seats):
        raise InvalidInput(
            f"gpus: found {len(seats)} and tensors on NVMe, expected one GPU: what shares a drive is not modelled"
        )
    environment = simpy.Environment()
    stands_for: dict[int, int] = {}
    under_way: dict[int, UnderWay] = {}
    models: dict[object, Sequence[int]] = {}
    most = {_same(seat)[1:]: _most_of(seat) for seat in {_same(seat)[1:]: seat for seat in seats}.values()}
    topology = topology.that_binds([most[_same(seat)[1:]] for seat in seats])
    sharing = topology.sharing()
    by_itself = sorted(set(range(len(seats))).difference(*sharing))
    groups = [*sharing, *([gpu] for gpu in by_itself)]
    seats = _from_first(seats, groups)
    for gpus in groups:
        model = models.setdefault((topology.shape(gpus), tuple(_same(seats[gpu]) for gpu in gpus)), gpus)
        if model is not gpus:
            stands_for |= {gpu: stands_for[like] for gpu, like in zip(gpus, model, strict=True)}
            continue
        first: dict[object, int] = {}
        stands_for |= {gpu: first.setdefault((topology.gpus[gpu], _same(seats[gpu])), gpu) for gpu in gpus}
        counts = Counter(stands_for[gpu] for gpu in gpus)
        links = _SharedLinks(environment, topology)
        links.ports = [
            _BesideOthers(seats[gpu], gpu, count, place, links) for place, (gpu, count) in enumerate(counts.items())
        ]
        for port in links.ports:
            seat = seats[port.gpu]
            others = port if gpus in sharing else None
            under_way[port.gpu] = UnderWay(environment, *seat[:3], others, seat.start_ns)
    environment.run(environment.all_of([environment.process(one.process()) for one in under_way.values()]))
    moments = {gpu: _earlier(one.moments(), seats[gpu].start_ns) for gpu, one in under_way.items()}
    return [moments[stands_for[gpu]] for gpu in range(len(seats))]


def _from_first(seats: Sequence[Seat], groups: Sequence[Sequence[int]]) -> list[Seat]:
    """The same, where GPUs that share nothing with others begin with the clock: when does not matter to them."""
    later = list(seats)
    for gpus in groups:
        first_ns = min(seats[gpu].start_ns for gpu in gpus)
        for gpu in gpus:
            later[gpu] = seats[gpu]._replace(start_ns=seats[gpu].start_ns - first_ns)
    return later


def _same(seat: Seat) -> tuple[int, ...]:
    """Equal for seats that run the same from the same moment on."""
    return seat.start_ns, id(seat.script), id(seat.durations), id(seat.gpu)


class _SharedLinks:
    """The copies under way on GPUs that depend on each other, as bits: two for each port, out and in. Shares are dealt
    out where some link is asked for more than it carries, or was."""

    def __init__(self, environment: simpy.Environment, topology: Topology) -> None:
        self.ports: list[_BesideOthers] = []
        self.copies = 0
        self._environment = environment
        self._sharing = Sharing(topology)
        self.loads = self._sharing.loads()
        self._settles = False
        self._slowed = False
        self._by_copies: dict[int, list[tuple[_BesideOthers, int]]] = {}
        self._known: dict[tuple[int, tuple[int, ...]], list[int]] = {}

    def changed(self, loads: Sequence[Load]) -> None:
        """What is asked of these has changed: it is settled behind all that happens at this nanosecond already."""
        if not self._settles and (self._slowed or any(load.too_much for load in loads)):
            self._settles = True
            self._environment.timeout(0).callbacks.append(self._settle)

    def _settle(self, _moment: Any) -> None:
        self._settles = False
        asked = self._by_copies.get(self.copies)
        if asked is None:
            asked = self._by_copies[self.copies] = self._copying()
        demands = tuple([port.demands[direction] for port, direction in asked])
        key = (self.copies, demands)
        slowdowns_ppm = self._known.get(key)
        if slowdowns_ppm is None:
            slowdowns_ppm = self._known[key] = self._sharing.slowdowns_ppm(
                [((port.gpu, direction), port.demands[direction], port.count) for port, direction in asked]
            )
        self._slowed = False
        for (port, direction), slowdown_ppm in zip(asked, slowdowns_ppm, strict=True):
            if slowdown_ppm != PPM:
                self._slowed = True
            if slowdown_ppm != port.shared_ppm[direction]:
                port.share(direction, slowdown_ppm)

    def _copying(self) -> list[tuple[_BesideOthers, int]]:
        """The ports with a copy under way, and its direction."""
        return [
            (port, direction)
            for place, port in enumerate(self.ports)
            for direction in (OUT, IN)
            if self.copies >> (2 * place + direction) & 1
        ]


class _BesideOthers(Beside):
    """See `Beside`: what slows the copies of a GPU, and of all that it stands for, whose links others use as well.
    `demands` are what the copies under way would reach were there no other GPU, and `shared_ppm` how much less of that
    the others leave."""

    def __init__(self, seat: Seat, gpu: int, count: int, place: int, links: _SharedLinks) -> None:
        super().__init__(seat.gpu.link)
        self.gpu = gpu
        self.count = count
        self.demands = [0, 0]
        self.shared_ppm = [PPM, PPM]
        self._bits = (1 << 2 * place, 2 << 2 * place)
        self._links = links
        self._loads = links.loads[gpu]
        self._rates = _rates_of(seat)
        self._begun = [0, 0]

    def share(self, direction: int, slowdown_ppm: int) -> None:
        """The others leave the copy under way so much less than it asks for."""
        self.shared_ppm[direction] = slowdown_ppm
        super()._changed(direction)

    def begin(self, direction: int, copies: Rated) -> None:
        """As `Beside.begin`."""
        self._begun[direction] += 1
        self.shared_ppm[direction] = PPM
        self._links.copies |= self._bits[direction]
        super().begin(direction, copies)
        self._ask(direction, self._demand_bytes_per_s(direction), self.count)

    def end(self, direction: int) -> None:
        """As `Beside.end`."""
        self._links.copies &= ~self._bits[direction]
        super().end(direction)
        self._ask(direction, 0, -self.count)

    def copy_slowdown_ppm(self, direction: int) -> int:
        """As `Beside.copy_slowdown_ppm`."""
        return super().copy_slowdown_ppm(direction) * self.shared_ppm[direction] // PPM

    def _changed(self, direction: int) -> None:
        copies = self._copies[direction]
        if copies:
            copies.slowed_by(self.copy_slowdown_ppm(direction))
            self._ask(direction, self._demand_bytes_per_s(direction), 0)

    def _demand_bytes_per_s(self, direction: int) -> int:
        alone = self._rates[direction][self._begun[direction] - 1]
        return alone * PPM // super().copy_slowdown_ppm(direction)

    def _ask(self, direction: int, demand_bytes_per_s: int, streams: int) -> None:
        more = (demand_bytes_per_s - self.demands[direction]) * self.count
        self.demands[direction] = demand_bytes_per_s
        for load in self._loads:
            load.change(direction, streams, more)
        self._links.changed(self._loads)


def _rates_of(seat: Seat) -> tuple[list[int], list[int]]:
    """What each copy out and in of a seat puts on the link by itself, in bytes per second."""
    wire_bytes = seat.script.program.wire_bytes
    return (
        _alone_bytes_per_s(map(wire_bytes, seat.script.outs), seat.durations.outs_ns),
        _alone_bytes_per_s(map(wire_bytes, seat.script.ins), seat.durations.ins_ns),
    )


def _most_of(seat: Seat) -> Most:
    """What a seat's copies ask for at most: a kernel beside one, or a copy the other way, may make it faster, too."""
    script, link = seat.script, seat.gpu.link
    kernels_ppm = [min(column) for column in zip(ALONE, *script.slowdowns_ppm, strict=True)]
    both_ways_ppm = (link.both_ways_out_slowdown_ppm, link.both_ways_in_slowdown_ppm)
    out, back = [
        max(rates, default=0) * PPM // max(1, kernel_ppm * min(PPM, both_ppm) // PPM)
        for rates, kernel_ppm, both_ppm in zip(_rates_of(seat), kernels_ppm, both_ways_ppm, strict=True)
    ]
    one_way = not (script.writes or script.program.paging) and not script.known.both_ways
    return Most(out, back, max(out, back) if one_way else out + back)


def _alone_bytes_per_s(sizes_bytes: Iterable[int], durations_ns: Sequence[int]) -> list[int]:
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
