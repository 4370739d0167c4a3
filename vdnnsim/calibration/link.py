"""`calibrate link`: how long copies take by size and direction, and what the host's calls cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import NamedTuple

import torch

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.host_costs import LONG_WAIT_NS, StreamWaits, measure_host
from vdnnsim.calibration.pairs import Slowdown, measure_pairs
from vdnnsim.calibration.pinning import measure_pinning
from vdnnsim.calibration.power import measure_power
from vdnnsim.calibration.progress import OnProgress, silent
from vdnnsim.calibration.samples import Sample, quiet_ones, sample
from vdnnsim.calibration.slowdown import CopySlowdowns
from vdnnsim.calibration.watch import LINK, Seen, Watch, timed_ns
from vdnnsim.gpu import Link, LinkCurve, LinkPoint
from vdnnsim.gpu.profile import HostCosts, Power
from vdnnsim.machines.real.device import Action, Device
from vdnnsim.program import Stream

SMALLEST_COPY_BYTES = 4 << 10
_SMALL_TURNS = 10
_LARGE_TURNS, _MOST_LARGE = 5, 40
_BOTH_WAYS_CHAIN = 8
_ENGINES = (Stream.COPY_OUT, Stream.COPY_IN)


class Memory(NamedTuple):
    """Bytes on the device and pinned bytes on the host."""

    device: torch.Tensor
    host: torch.Tensor


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
    disturbed: tuple[str, ...] = ()
    """What never ran undisturbed."""


def measure_synchronise(watch: Watch) -> Sample:
    """The host's cost of waiting for a stream that has nothing to do."""
    device = watch.device
    device.drain()
    wait = device.wait(Stream.COMPUTE)
    return watch.undisturbed(lambda: sample([_host_ns(device, wait) for _ in range(500)])).value


class _Curve(NamedTuple):
    """One direction: copy time by size, and for small sizes what a copy and a wait for it take beyond the call, the
    copy and an idle wait: how long a copy takes to begin. `disturbed` names the sizes that never ran undisturbed."""

    points: tuple[LinkPoint, ...]
    residues_ns: list[int]
    disturbed: list[int]

    @property
    def spread_ppm(self) -> int:
        """The widest from 1 MiB on."""
        return max((point.spread_ppm for point in self.points if point.size_bytes >= 1 << 20), default=0)


class Copies(NamedTuple):
    """Both directions and their slowdown by each other, with what the host's wait for an idle stream costs."""

    out: _Curve
    back: _Curve
    both: tuple[Slowdown, Slowdown]
    synchronise: Sample

    @property
    def start_ns(self) -> int:
        """How long after its call a copy begins; less than 0 where the marks around it took longer than that."""
        return round(median(self.out.residues_ns + self.back.residues_ns))

    @property
    def link(self) -> Link:
        curves = [LinkCurve(curve.points) for curve in (self.out, self.back)]
        if self.start_ns < 0:  # a copy takes less without the marks around it
            curves = [_shortened(curve, -self.start_ns) for curve in curves]
        return Link(curves[0], curves[1], self.both[0].ppm, self.both[1].ppm)

    @property
    def disturbed(self) -> list[str]:
        """What never ran undisturbed."""
        sizes = [
            f"{name} of {size} B"
            for name, way in (("copies out", self.out), ("copies in", self.back))
            for size in way.disturbed
        ]
        ways = [f"both ways, {name}" for name, one in zip(("out", "in"), self.both, strict=True) if one.disturbed]
        return sizes + ways


def measure_copies(bench: Bench, memory: Memory, progress: OnProgress = silent) -> Copies:
    """Copy times from 4 KiB to all of `memory` in each direction, and both at once."""
    watch = bench.watch
    progress(0, 4, "copies of each size")
    synchronise = measure_synchronise(watch)
    largest = memory.host.numel()
    out, back = (_curve(watch, engine, memory, largest, synchronise.median_ns) for engine in _ENGINES)
    progress(1, 4, "copies both ways")
    return Copies(out, back, _both_ways(watch), synchronise)


def memory_for_copies(bench: Bench, largest_bytes: int) -> Memory:
    """Device and pinned memory for copies up to this size. Raises `DeviceRefused`."""
    return Memory(bench.device.make_slab(largest_bytes)[:largest_bytes], bench.device.make_pinned([largest_bytes])[0])


def measure_link(bench: Bench, progress: OnProgress = silent) -> LinkReport:
    """Copy times from 4 KiB to 1 GiB (16 MiB on the CPU) in each direction and both at once; costs of calls from a
    small offloading program, and what they cost more after a wait; what pinning costs. Raises `DeviceRefused` where
    memory for the largest copy is missing."""
    device, watch = bench.device, bench.watch
    date = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    capacity_bytes = device.total_bytes()
    device.enter()
    memory = memory_for_copies(bench, device.largest_copy_bytes)
    copies = measure_copies(bench, memory, progress)
    out, back, both, synchronise = copies
    bandwidth = _memory_bandwidth(device, memory.device)
    progress(2, 4, "costs of the host's calls")
    calls = measure_host(bench)
    pinning = measure_pinning(watch)
    link = copies.link
    host = HostCosts(
        kernel_ns=calls.kernel.median_ns,
        copy_ns=calls.copy.median_ns,
        synchronise_ns=synchronise.median_ns,
        allocate_ns=calls.allocate.median_ns,
        free_ns=calls.free.median_ns,
        copy_start_ns=max(0, copies.start_ns),
        stream_wait_ns=calls.stream_waits.warm.median_ns,
        after_wait=calls.after_wait,
        pinning=pinning.costs,
    )
    progress(3, 4, "power")
    power = measure_power(bench) if device.name == "cuda" else None
    progress(4, 4, "done")
    return LinkReport(
        capacity_bytes,
        max(bandwidth, link.copy_out.bandwidth_bytes_per_s, link.copy_in.bandwidth_bytes_per_s),
        link,
        host,
        {
            "copy out": out.spread_ppm,
            "copy in": back.spread_ppm,
            "both ways out": both[0].spread_ppm,
            "both ways in": both[1].spread_ppm,
            "kernel": calls.kernel.spread_ppm,
            "copy": calls.copy.spread_ppm,
            "allocate": calls.allocate.spread_ppm,
            "free": calls.free.spread_ppm,
            "wait of a stream": calls.stream_waits.warm.spread_ppm,
            "iteration of these": calls.iteration_spread_ppm,
            "synchronise": synchronise.spread_ppm,
            "pinning": pinning.spread_ppm,
        },
        f"copies: {3 * _SMALL_TURNS} below {device.reference_bytes >> 20} MiB, {_LARGE_TURNS} beyond; waits: 500; "
        "other calls: in up to 40 iterations",
        date,
        {**device.describe(), **watch.describe(), "waits of streams": _told(calls.stream_waits)},
        power,
        (*copies.disturbed, *pinning.disturbed),
    )


def _told(waits: StreamWaits) -> str:
    return (
        f"{waits.warm.median_ns} ns to record an event and let a stream wait for it, {waits.after_wait.median_ns} ns "
        f"behind a wait of {LONG_WAIT_NS / 1e6:.1f} ms"
    )


def _host_ns(device: Device, action: Action) -> int:
    begin_ns = device.now_ns()
    action()
    return device.now_ns() - begin_ns


def _prepared(device: Device, engine: Stream, memory: Memory, size: int) -> Action:
    here, there = memory.device[:size], memory.host[:size]
    return device.copy(engine, there, here) if engine is Stream.COPY_OUT else device.copy(engine, here, there)


def _curve(watch: Watch, engine: Stream, memory: Memory, largest: int, synchronise_ns: int) -> _Curve:
    points: list[LinkPoint] = []
    residues = []
    disturbed = []
    size = SMALLEST_COPY_BYTES
    while size <= largest:
        timings = _time_copies(watch, engine, memory, size)
        durations, calls, wholes = zip(*timings.value, strict=True)
        found = sample(durations)
        if not timings.quiet:
            disturbed.append(size)
        # A size that took longer than a larger one was disturbed: the larger one is the better witness.
        points = [point for point in points if point.duration_ns < found.median_ns]
        points.append(LinkPoint(size, found.median_ns, found.spread_ppm))
        if size <= 16 << 20:
            residues.append(round(median(wholes) - median(calls)) - found.median_ns - synchronise_ns)
        size *= 2
    return _Curve(tuple(points), residues, disturbed)


_CopyTimes = tuple[int, int, int]


def _time_copies(watch: Watch, engine: Stream, memory: Memory, size: int) -> Seen[list[_CopyTimes]]:
    """Copies of one size while nothing disturbs them. One that is longer than the link's reference is its own witness:
    it may not be slower by the byte than the reference at full speed."""
    device, link = watch.device, watch.link
    copy, wait = _prepared(device, engine, memory, size), device.wait(engine)
    time_copy = partial(_time_copy, device, engine, copy, wait)
    time_copy()
    if size < device.reference_bytes:
        groups = [watch.undisturbed(lambda: [time_copy() for _ in range(_SMALL_TURNS)], link=True) for _ in range(3)]
        found = quiet_ones(groups)
        return Seen([one for group in found.value for one in group], found.disturbed_by)
    limit_ns = device.slow_link * link.fastest_ns(engine) * size / device.reference_bytes
    quiet: list[_CopyTimes] = []
    every: list[_CopyTimes] = []
    for _ in range(_MOST_LARGE):
        link.settle()
        times = watch.undisturbed(time_copy).value
        every.append(times)
        fast = times[0] <= limit_ns
        watch.note(() if fast else (LINK,))
        if fast:
            quiet.append(times)
        if len(quiet) >= _LARGE_TURNS:
            break
    if len(quiet) >= 2:
        return Seen(quiet)
    return Seen(sorted(every)[:3], (LINK,))


def _time_copy(device: Device, engine: Stream, copy: Action, wait: Action) -> _CopyTimes:
    """A copy's own time, then without marks what its call costs the host and what call and wait take together."""
    alone_ns = timed_ns(device, engine, copy)
    begin_ns = device.now_ns()
    copy()
    called_ns = device.now_ns()
    wait()
    return alone_ns, called_ns - begin_ns, device.now_ns() - begin_ns


def _shortened(curve: LinkCurve, marks_ns: int) -> LinkCurve:
    """The curve without what the marks cost. A copy of which the marks were the larger part was not measured: smaller
    ones are taken to last as long as the smallest that was."""
    measured = [point for point in curve.points if point.duration_ns >= 2 * marks_ns]
    kept = max(2, len(measured))
    floor_ns = curve.points[-kept].duration_ns // 2
    return LinkCurve(
        tuple(point._replace(duration_ns=point.duration_ns - min(marks_ns, floor_ns)) for point in curve.points[-kept:])
    )


def _both_ways(watch: Watch) -> tuple[Slowdown, Slowdown]:
    """Slowdowns of (out, in) while the other direction copies as well: chains of reference copies alone and beside
    copies the other way, of which there are more, so that they last longer than those that are timed."""
    slowdowns = CopySlowdowns(watch)
    found = []
    for stream, other in (_ENGINES, _ENGINES[::-1]):
        opposite = watch.link.copies[other]
        found.append(
            measure_pairs(
                watch,
                stream,
                partial(slowdowns.chain, stream, _BOTH_WAYS_CHAIN),
                partial(slowdowns.chain, stream, _BOTH_WAYS_CHAIN, opposite, 2 * _BOTH_WAYS_CHAIN),
                turns=5,
            )
        )
    return found[0], found[1]


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
