"""What the host's calls cost, taken where they are given: in iterations of offloading programs, command by command.

A call costs more when the host has waited long since the last one of its kind, since code that was not used for a
millisecond or more has to be fetched anew on a machine that others share. So every kernel and copy is given twice: the
second call is warm, and what the first one cost more is what the wait before it added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import NamedTuple

import numpy as np

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.kernels import plan_of_first_choices
from vdnnsim.calibration.samples import Sample, quiet_ones, quiet_sample, repetitions_within, sample
from vdnnsim.calibration.watch import Watch
from vdnnsim.gpu import AfterWait, CallKind
from vdnnsim.iteration import Layout
from vdnnsim.machines.real.device import Device
from vdnnsim.network import Network, load_network
from vdnnsim.policies.plan import feature_extraction_layers
from vdnnsim.program import (
    Allocate,
    Command,
    Free,
    HostWait,
    Kernel,
    Program,
    Stream,
    StreamWait,
    Synchronise,
    build_program,
)

WAITS_NS = (0, 100_000, 350_000, 700_000, 1_400_000, 2_800_000, 5_600_000, 11_200_000)
"""The waits of the table: costs are put together by the nearest, by ratio."""
LONG_WAIT_NS = WAITS_NS[-2]
"""The wait behind which waits of streams are timed as well."""
_FEWEST_READINGS = 8
_LITTLE_NS = 100
_WARM_TURNS, _COLD_TURNS = 500, 30


class Extra(NamedTuple):
    """By how much a call cost more than a warm one, and how long the host had waited since the last of its kind."""

    waited_ns: int
    extra_ns: int


@dataclass
class Readings:
    """The costs of warm calls, and what waits added; allocations and frees are one kind that goes cold together."""

    kernels: list[int] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)
    allocations: list[int] = field(default_factory=list)
    frees: list[int] = field(default_factory=list)
    extras: dict[CallKind, list[Extra]] = field(default_factory=lambda: {call: [] for call in CallKind})


class StreamWaits(NamedTuple):
    """What it costs the host to record an event on one stream and let another one wait for it: right behind the last
    time, and behind a wait of `LONG_WAIT_NS`."""

    warm: Sample
    after_wait: Sample


class HostReport(NamedTuple):
    """Costs of warm calls, what waits add where they do, and how steady the numbers are."""

    kernel: Sample
    copy: Sample
    allocate: Sample
    free: Sample
    stream_waits: StreamWaits
    after_wait: AfterWait | None
    iteration_spread_ppm: int


def measure_host(bench: Bench) -> HostReport:
    """The costs of launches, copies and the pool's calls in the device's `host_programs`, and those of streams'
    waits."""
    readings = Readings()
    spreads = [_measure(bench, load_network(name, batch), readings) for name, batch in bench.device.host_programs]
    costs = (readings.kernels, readings.copies, readings.allocations, readings.frees)
    kernel, copy, allocate, free = (sample(kind or [0]) for kind in costs)
    waits = measure_stream_waits(bench.watch)
    return HostReport(kernel, copy, allocate, free, waits, after_wait_of(readings.extras), max(spreads))


def measure_stream_waits(watch: Watch) -> StreamWaits:
    """The compute stream waits for events behind an idle copy stream."""
    device = watch.device
    device.enter()
    event = device.event(Stream.COPY_OUT)
    hold = event.stream_wait(Stream.COMPUTE)
    wait = device.wait(Stream.COMPUTE, device.rehearsal(Stream.COPY_OUT))
    clock_ns = _clock_ns(device)

    def call_ns() -> int:
        begin_ns = device.now_ns()
        event.record()
        hold()
        return max(0, device.now_ns() - begin_ns - clock_ns)

    def after_wait_ns() -> int:
        device.head_start(LONG_WAIT_NS)
        wait()
        return call_ns()

    call_ns()
    warm = watch.undisturbed(lambda: sample([call_ns() for _ in range(_WARM_TURNS)]))
    cold = watch.undisturbed(lambda: sample([after_wait_ns() for _ in range(_COLD_TURNS)]))
    device.drain()
    return StreamWaits(warm.value, cold.value)


def after_wait_of(extras: Mapping[CallKind, Sequence[Extra]]) -> AfterWait | None:
    """What waits add to each kind of call; None where it is nothing but noise."""
    kernel_ns, copy_ns, pool_ns = (
        _by_wait(extras[call]) for call in (CallKind.KERNEL, CallKind.COPY, CallKind.ALLOCATE)
    )
    if max(*kernel_ns, *copy_ns, *pool_ns) <= _LITTLE_NS:
        return None
    return AfterWait(WAITS_NS, kernel_ns, copy_ns, pool_ns, (0,) * len(WAITS_NS))


def _by_wait(extras: Sequence[Extra]) -> tuple[int, ...]:
    """The median extra near each of `WAITS_NS`, between those with few readings interpolated."""
    nearest: dict[int, list[int]] = {}
    edges = [(left * right) ** 0.5 for left, right in pairwise(WAITS_NS[1:])]
    for waited_ns, extra_ns in extras:
        nearest.setdefault(1 + int(np.searchsorted(edges, waited_ns)), []).append(extra_ns)
    known = {0: 0.0} | {
        index: max(0.0, median(found)) for index, found in sorted(nearest.items()) if len(found) >= _FEWEST_READINGS
    }
    at = [WAITS_NS[index] for index in known]
    return tuple(round(float(np.interp(wait_ns, at, list(known.values())))) for wait_ns in WAITS_NS)


def _measure(bench: Bench, network: Network, readings: Readings) -> int:
    """All calls of one network under vDNN-all; returns how far its iterations spread."""
    plan = plan_of_first_choices(
        network, bench.operators_in("fp32"), Layout.LAYER_WISE, feature_extraction_layers(network)
    )
    loaded = bench.load(bench.machine(network, "fp32"), build_program(network, plan))
    doubled, watch = loaded.doubled(), bench.watch
    loaded.run()
    repetitions = repetitions_within(bench.device.budget_ns, 2 * loaded.run(), 3, 40)
    plain = [watch.undisturbed(loaded.run) for _ in range(repetitions)]
    paced = quiet_ones([watch.undisturbed(doubled.run_paced) for _ in range(repetitions)]).value
    clock_ns = _clock_ns(bench.device)
    for times, begin_ns in paced:
        costs = [after_ns - before_ns - clock_ns for before_ns, after_ns in pairwise((begin_ns, *times))]
        read(doubled.program, costs, readings)
    return quiet_sample(plain).spread_ppm


def read(program: Program, costs_ns: Sequence[int], readings: Readings) -> None:
    """Add an iteration in which every kernel and copy was given twice; `costs_ns` has one entry per command, waits
    among them. The first call of each kind is left out: how long the host had waited before is not known."""
    waited_ns: dict[CallKind, int] = {}
    before: Command | None = None
    before_ns = 0
    pool: list[tuple[bool, Extra]] = []
    for command, cost_ns in zip(program.commands, costs_ns, strict=True):
        if isinstance(command, Synchronise | HostWait):
            waited_ns = {call: so_far_ns + cost_ns for call, so_far_ns in waited_ns.items()}
        elif isinstance(command, Allocate | Free):
            waited = waited_ns.get(CallKind.ALLOCATE)
            if waited is not None:
                pool.append((isinstance(command, Free), Extra(waited, max(0, cost_ns))))
            waited_ns[CallKind.ALLOCATE] = 0
        elif not isinstance(command, StreamWait):
            call = CallKind.KERNEL if isinstance(command, Kernel) else CallKind.COPY
            if command is before:
                (readings.kernels if call is CallKind.KERNEL else readings.copies).append(max(0, cost_ns))
                if waited := waited_ns.get(call):
                    readings.extras[call].append(Extra(waited, before_ns - cost_ns))
                waited_ns[call] = 0
        before, before_ns = command, cost_ns
    warm = [
        [cost_ns for was_free, (waited, cost_ns) in pool if was_free is free and not waited] for free in (False, True)
    ]
    readings.allocations += warm[False]
    readings.frees += warm[True]
    usual_ns = [median(costs or [0]) for costs in warm]
    readings.extras[CallKind.ALLOCATE] += [
        Extra(waited, round(cost_ns - usual_ns[was_free])) for was_free, (waited, cost_ns) in pool if waited
    ]


def _clock_ns(device: Device) -> int:
    """What reading the clock after a command adds to it."""
    times: list[int] = []
    now_ns = device.now_ns
    begin_ns = now_ns()
    for _ in range(1000):
        times.append(now_ns())
    return round((times[-1] - begin_ns) / len(times))
