"""`calibrate link`: how long copies take by size and direction, and what the host's calls cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.kernels import plan_of_first_choices
from vdnnsim.calibration.power import measure_power
from vdnnsim.calibration.progress import Progress, silent
from vdnnsim.calibration.samples import Sample, repetitions_within, sample
from vdnnsim.gpu import Link, LinkCurve, LinkPoint
from vdnnsim.gpu.profile import HostCosts, Power
from vdnnsim.machines.real.device import Action, Device
from vdnnsim.network import load_network
from vdnnsim.policies.plan import Layout, feature_extraction_layers
from vdnnsim.program import Allocate, CopyIn, CopyOut, Free, Kernel, Stream, build_program
from vdnnsim.units import PPM

SMALLEST_COPY_BYTES = 4 << 10
LARGEST_COPY_BYTES = 1 << 30
_LARGEST_ON_CPU_BYTES = 64 << 20
_ENGINES = (Stream.COPY_OUT, Stream.COPY_IN)


@dataclass(frozen=True)
class LinkReport:
    """What was measured of a device; `spreads_ppm` says how steady each part was."""

    capacity_bytes: int
    memory_bandwidth_bytes_per_s: int
    link: Link
    host: HostCosts
    spreads_ppm: Mapping[str, int]
    repetitions: str
    date: str
    conditions: Mapping[str, str]
    power: tuple[Power, str] | None = None
    """The board's power and how it was measured, where the device tells."""


def copy_piece_bytes(device: Device) -> int:
    """A copy long enough to be timed and short enough to be repeated: about a millisecond on a GPU's link."""
    return 64 << 20 if device.name == "cuda" else 1 << 20


def measure_synchronise(device: Device) -> Sample:
    """The host's cost of waiting for a stream that has nothing to do."""
    device.drain()
    wait = device.wait(Stream.COMPUTE)
    return device.host.undisturbed(lambda: sample([_host_ns(device, wait) for _ in range(500)]))[0]


def measure_link(bench: Bench, progress: Progress = silent) -> LinkReport:
    """Copy times from 4 KiB to 1 GiB (64 MiB on the CPU) in each direction and both at once; costs of calls from a
    small offloading program. Raises `DeviceRefused` where memory for the largest copy is missing."""
    device = bench.device
    date = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    capacity_bytes = device.total_bytes()
    largest = LARGEST_COPY_BYTES if device.name == "cuda" else _LARGEST_ON_CPU_BYTES
    slab = device.make_slab(2 * largest)
    hosts = device.make_pinned([largest, largest])
    device.enter()
    progress(0, 4, "copies of each size")
    curves: list[LinkCurve] = []
    spreads: dict[str, int] = {}
    starts: list[int] = []
    synchronise = measure_synchronise(device)
    for engine in _ENGINES:
        curve, spread_ppm, residues = _curve(device, engine, slab, hosts[0], largest, synchronise.median_ns)
        curves.append(curve)
        spreads[engine.value] = spread_ppm
        starts += residues
    progress(1, 4, "copies both ways")
    out_ppm, in_ppm = _both_ways(device, slab, hosts, largest)
    bandwidth = _memory_bandwidth(device, slab)
    progress(2, 4, "costs of the host's calls")
    costs, cost_spreads = _host_costs(bench)
    start_ns = round(median(starts))
    if start_ns < 0:  # a copy takes less without the marks around it
        curves = [_shortened(curve, -start_ns) for curve in curves]
    host = replace(costs, synchronise_ns=synchronise.median_ns, copy_start_ns=max(0, start_ns))
    spreads |= cost_spreads | {"synchronise": synchronise.spread_ppm}
    progress(3, 4, "power")
    power = measure_power(bench) if device.name == "cuda" else None
    progress(4, 4, "done")
    return LinkReport(
        capacity_bytes,
        max(bandwidth, *(curve.bandwidth_bytes_per_s for curve in curves)),
        Link(curves[0], curves[1], out_ppm, in_ppm),
        host,
        spreads,
        "copies: 30 up to 1 MiB, 10 up to 64 MiB, 5 beyond; waits: 500; other calls: in up to 40 iterations",
        date,
        {**device.describe(), "host": device.host.describe()},
        power,
    )


def _host_ns(device: Device, action: Action) -> int:
    begin_ns = device.now_ns()
    action()
    return device.now_ns() - begin_ns


def _prepared(device: Device, engine: Stream, memory: torch.Tensor, host: torch.Tensor) -> Action:
    if engine is Stream.COPY_OUT:
        return device.copy(engine, host, memory)
    return device.copy(engine, memory, host)


def _curve(
    device: Device, engine: Stream, slab: torch.Tensor, host: torch.Tensor, largest: int, synchronise_ns: int
) -> tuple[LinkCurve, int, list[int]]:
    """Copy time by size, its widest spread from 1 MiB on, and for each size what a copy and a wait for it take beyond
    the call, the copy and an idle wait: how long a copy takes to begin."""
    points: list[LinkPoint] = []
    widest_ppm = 0
    residues = []
    wait = device.wait(engine)
    for _ in range(3):
        _prepared(device, engine, slab[:largest], host[:largest])()
    wait()
    size = SMALLEST_COPY_BYTES
    while size <= largest:
        copy = _prepared(device, engine, slab[:size], host[:size])
        repetitions = 30 if size <= 1 << 20 else 10 if size <= 64 << 20 else 5
        time_copy = partial(_time_copy, device, engine, copy, wait)
        timings = [device.host.undisturbed(time_copy)[0] for _ in range(repetitions)]
        durations, calls, wholes = zip(*timings, strict=True)
        found = sample(durations)
        if size >= 1 << 20:
            widest_ppm = max(widest_ppm, found.spread_ppm)
        # A size that took longer than a larger one was disturbed: the larger one is the better witness.
        points = [point for point in points if point.duration_ns < found.median_ns]
        points.append(LinkPoint(size, found.median_ns))
        if size <= 16 << 20:
            residues.append(round(median(wholes) - median(calls)) - found.median_ns - synchronise_ns)
        size *= 2
    return LinkCurve(tuple(points)), widest_ppm, residues


def _time_copy(device: Device, engine: Stream, copy: Action, wait: Action) -> tuple[int, int, int]:
    """A copy's own time, then without marks what its call costs the host and what call and wait take together."""
    marked, stopwatch = device.timed(engine, copy)
    marked()
    wait()
    copy_begin_ns, copy_end_ns = stopwatch.read()
    begin_ns = device.now_ns()
    copy()
    called_ns = device.now_ns()
    wait()
    return copy_end_ns - copy_begin_ns, called_ns - begin_ns, device.now_ns() - begin_ns


def _shortened(curve: LinkCurve, marks_ns: int) -> LinkCurve:
    """The curve without what the marks cost. A copy of which the marks were the larger part was not measured: smaller
    ones are taken to last as long as the smallest that was."""
    measured = [point for point in curve.points if point.duration_ns >= 2 * marks_ns]
    kept = max(2, len(measured))
    floor_ns = curve.points[-kept].duration_ns // 2
    return LinkCurve(
        tuple(LinkPoint(size, time_ns - min(marks_ns, floor_ns)) for size, time_ns in curve.points[-kept:])
    )


def _both_ways(device: Device, slab: torch.Tensor, hosts: list[torch.Tensor], size: int) -> tuple[int, int]:
    """Slowdowns of (out, in) while the other direction copies as well. The other one is given twice, so that it lasts
    longer than the one that is timed."""
    slowdowns = []
    parts = (slab[:size], slab[size : 2 * size])
    copies = {engine: _prepared(device, engine, parts[i], hosts[i]) for i, engine in enumerate(_ENGINES)}
    for engine, other in (_ENGINES, _ENGINES[::-1]):
        alone = [_copy_ns(device, engine, copies[engine], None) for _ in range(3)]
        beside = [_copy_ns(device, engine, copies[engine], copies[other]) for _ in range(3)]
        slowdowns.append(round(PPM * median(beside) / median(alone)))
    return slowdowns[0], slowdowns[1]


def _copy_ns(device: Device, engine: Stream, copy: Action, other: Action | None) -> int:
    marked, stopwatch = device.timed(engine, copy)
    if other is not None:
        other()
        other()
    marked()
    device.drain()
    begin_ns, end_ns = stopwatch.read()
    return end_ns - begin_ns


def _memory_bandwidth(device: Device, slab: torch.Tensor) -> int:
    """Bytes read and written per second by a copy within device memory."""
    half = slab.numel() // 2
    source, target = slab[:half], slab[half : 2 * half]
    times = []
    for _ in range(5):
        marked, stopwatch = device.timed(Stream.COMPUTE, device.on_compute(lambda: target.copy_(source)))
        marked()
        device.drain()
        begin_ns, end_ns = stopwatch.read()
        times.append(end_ns - begin_ns)
    return round(2 * half / median(times[1:]) * 1e9)


def _host_costs(bench: Bench) -> tuple[HostCosts, dict[str, int]]:
    """The host's cost of each kind of command, from the commands of a small network that offloads everything: launches
    and copies from their median, less what reading the clock between commands adds; allocations and frees
    together from iterations with and without them. On a noisy host that difference is rough: a report's measuring
    cases say it better."""
    network = load_network("alexnet", 4)
    offload = feature_extraction_layers(network)
    plan = plan_of_first_choices(network, bench.operators_in("fp32"), Layout.LAYER_WISE, offload)
    loaded = bench.load(bench.machine(network, "fp32"), build_program(network, plan))
    loaded.run()
    host = bench.device.host
    kinds: Mapping[str, Callable[[object], bool]] = {
        "kernel": lambda command: isinstance(command, Kernel),
        "copy": lambda command: isinstance(command, CopyOut | CopyIn),
    }
    costs: dict[str, list[int]] = {kind: [] for kind in kinds}
    plain, paced, without = [], [], []
    repetitions = repetitions_within(1_000_000_000, 3 * loaded.run(), 3, 40)
    for _ in range(repetitions):
        plain.append(host.undisturbed(loaded.run)[0])
        without.append(host.undisturbed(loaded.run_without_pool)[0])
        (times, before_ns), _ = host.undisturbed(loaded.run_paced)
        paced.append(times[-1] - before_ns)
        for command, time_ns in zip(loaded.program.commands, times, strict=True):
            for kind, belongs in kinds.items():
                if belongs(command):
                    costs[kind].append(time_ns - before_ns)
            before_ns = time_ns
    samples = {kind: sample(values) for kind, values in costs.items()}
    commands = loaded.program.commands
    clock_ns = max(0, round((median(paced) - median(plain)) / len(commands)))
    in_pool = sum(isinstance(command, Allocate | Free) for command in commands)
    pool_ns = max(0, round((median(plain) - median(without)) / in_pool))
    found = HostCosts(
        kernel_ns=max(0, samples["kernel"].median_ns - clock_ns),
        copy_ns=max(0, samples["copy"].median_ns - clock_ns),
        allocate_ns=pool_ns,
        free_ns=pool_ns,
    )
    spreads = {kind: found.spread_ppm for kind, found in samples.items()}
    return found, spreads | {"iteration of these": sample(plain).spread_ppm}
