"""`calibrate doctor`: a short look at the machine that is to be measured on, as data; `diagnosis` says what it means.

Every part repeats one small piece of work that is the same everywhere, as the witnesses of `watch` do: a short loop on
each of the host's cores, a copy in each direction, alone and beside the other, a kernel. How fast it can go is what
some readings reached; everything slower is told as a share of the readings and of the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, median
from typing import NamedTuple

import torch

from vdnnsim.calibration.bench import Bench
from vdnnsim.calibration.gpu_state import state_doubts
from vdnnsim.calibration.progress import OnProgress, silent
from vdnnsim.calibration.slowdown import CopySlowdowns
from vdnnsim.calibration.watch import Fastest, Watch, timed_ns
from vdnnsim.machines.real.device import Action, Device
from vdnnsim.machines.real.host import SLOW
from vdnnsim.machines.real.nvml import GpuState
from vdnnsim.program import Stream

_LONGEST_NS = 15_000_000_000
"""The looks end then, on a machine whose copies are slow."""
_CHAINS, _CHAIN = 12, 8
_WARM = 0.2
"""The part of a load that does not count. Clocks of a GPU take a second to follow."""
_FEWEST_KERNELS = 20
_AHEAD = 8
"""So many kernels run while the state is read, which takes about 5 ms."""
_SIDES = {"cpu": 256}
_SIDE = 4096
"""Rows of the matrices of the kernel: some milliseconds."""
_SLOW_KERNEL = 1.015
_CLEARLY = 2
"""Slow is what takes longer than the fastest by more than this many times the slack of a witness: 3 % on a GPU's link,
where in a good hour one copy in fifty took 2 to 3 % longer and hardly one more."""
_DIRECTIONS = (Stream.COPY_OUT, Stream.COPY_IN)
_OPPOSITE = {Stream.COPY_OUT: Stream.COPY_IN, Stream.COPY_IN: Stream.COPY_OUT}


class Effort(NamedTuple):
    """So many times all cores are probed, and then the link is looked at so often; so long a kernel is repeated."""

    blocks: int = 60
    looks: int = 60
    load_ns: int = 5_000_000_000


FULL = Effort()
QUICK = Effort(30, 20, 1_000_000_000)
"""For the CPU, which is looked at to try the command."""


class Reading(NamedTuple):
    """One reading of a piece of work, and when it began."""

    begin_ns: int
    lasted_ns: int


@dataclass(frozen=True)
class Steadiness:
    """What readings of one piece of work say. `slow_share` of them took longer than the fastest by more than
    `slow_beyond`, a share of it; all of them took `median_excess` and on average `mean_excess` longer;
    `longest_slow_ns` is the longest time from the beginning of a slow reading to the end of a slow one with none but
    slow ones between."""

    number: int
    fastest_ns: int
    median_ns: int
    slow_beyond: float
    slow_share: float
    median_excess: float
    mean_excess: float
    longest_slow_ns: int


@dataclass(frozen=True)
class Core:
    """One core of the host, None for wherever the system runs the thread: its fastest probe, and the share of its
    probes that were slow."""

    number: int | None
    fastest_ns: int
    slow_share: float


@dataclass(frozen=True)
class HostSeen:
    """The host's cores. A core that never ran at full speed is of a slower kind, or was shared all the time.
    `slow_stretches` is the share of stretches of `stretch_ns` at whose beginning no core was fast, or at whose end the
    one was slow that had been: what a report would measure again."""

    probes: int
    fastest_ns: int
    cores: tuple[Core, ...]
    stretch_ns: int
    slow_stretches: float

    @property
    def fast_cores(self) -> tuple[Core, ...]:
        """Those that ran at full speed at least once."""
        return tuple(core for core in self.cores if core.slow_share < 1)

    @property
    def slow_share(self) -> float:
        """The share of slow probes of the cores that can be fast."""
        return fmean(core.slow_share for core in self.fast_cores)


@dataclass(frozen=True)
class LinkSeen:
    """The reference copies, and the share of looks at which one of the two directions was slow; `disturbed_looks` is
    the share of those that a report calls so, by the limit of a witness."""

    size_bytes: int
    out: Steadiness
    back: Steadiness
    out_both_ways: Steadiness
    in_both_ways: Steadiness
    slow_looks: float
    disturbed_looks: float


@dataclass(frozen=True)
class GpuSeen:
    """The device at rest and at the end of a load, where it tells, what its states during the load say against
    measuring, and the kernels of the load."""

    rest: GpuState | None
    loaded: GpuState | None
    doubts: tuple[str, ...]
    kernels: Steadiness


@dataclass(frozen=True)
class MemorySeen:
    """Memory of the device."""

    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Examination:
    """All that was seen. `is_gpu` is false for the CPU, which has no state to tell."""

    is_gpu: bool
    conditions: Mapping[str, str]
    host: HostSeen
    link: LinkSeen
    gpu: GpuSeen
    memory: MemorySeen


def examine(bench: Bench, progress: OnProgress = silent, effort: Effort = FULL) -> Examination:
    """Look at host and link by turns, at the link both ways, then at the device under load; about 20 s on a GPU. Raises
    `DeviceRefused` where memory for the reference copies or the kernel is missing."""
    device, watch = bench.device, bench.watch
    device.enter()
    device.drain()
    memory = MemorySeen(device.free_bytes(), device.total_bytes())
    rest = device.state()
    progress(0, 3, "host and link")
    host, readings = _host_and_link(watch, effort)
    progress(1, 3, "link both ways")
    both = [_beside(watch, stream) for stream in _DIRECTIONS]
    progress(2, 3, "the device under load")
    gpu = _load(watch, rest, effort.load_ns)
    progress(3, 3, "done")
    out, back = (steadiness(of_one, device.slow_link) for of_one in readings)
    shares = [_slow_looks(readings, limit) for limit in (_beyond(device.slow_link), device.slow_link - 1)]
    link = LinkSeen(device.reference_bytes, out, back, both[0], both[1], shares[0], shares[1])
    return Examination(device.uuid != "", device.describe(), host, link, gpu, memory)


def steadiness(readings: Sequence[Reading], slow: float) -> Steadiness:
    """Readings of one piece of work, in their order; `slow` is as in `Fastest`."""
    fastest_ns = _fastest_ns(readings)
    middle_ns = round(median(lasted_ns for _, lasted_ns in readings))
    flags = _are_slow(readings, _beyond(slow))
    spells = [list(group) for is_slow, group in groupby(range(len(readings)), flags.__getitem__) if is_slow]
    longest_ns = max((sum(readings[one[-1]]) - readings[one[0]].begin_ns for one in spells), default=0)
    excess = [max(0.0, lasted_ns / fastest_ns - 1) for _, lasted_ns in readings]
    return Steadiness(
        len(readings), fastest_ns, middle_ns, _beyond(slow), fmean(flags), median(excess), fmean(excess), longest_ns
    )


def _fastest_ns(readings: Sequence[Reading]) -> int:
    fastest = Fastest(1)
    for _, lasted_ns in readings:
        fastest.is_fast(lasted_ns)
    return max(1, fastest.fastest_ns)


def _beyond(slow: float) -> float:
    return round(_CLEARLY * (slow - 1), 6)


def _are_slow(readings: Sequence[Reading], beyond: float) -> list[bool]:
    limit_ns = (1 + beyond) * _fastest_ns(readings)
    return [lasted_ns > limit_ns for _, lasted_ns in readings]


def _slow_looks(readings: Iterable[Sequence[Reading]], beyond: float) -> float:
    """The share of looks, one reading in each direction, with a slow one."""
    return fmean(any(pair) for pair in zip(*(_are_slow(of_one, beyond) for of_one in readings), strict=True))


def _host_and_link(watch: Watch, effort: Effort) -> tuple[HostSeen, tuple[list[Reading], list[Reading]]]:
    """Probes of every core, and looks at (out, in), by turns."""
    device, host, copies = watch.device, watch.host, watch.link.copies
    begun_ns = device.now_ns()
    probes: dict[int | None, list[int]] = {core: [] for core in host.cores}
    readings: tuple[list[Reading], list[Reading]] = ([], [])
    stretches_ns, slow = [], []
    for _ in range(effort.blocks):
        for core, found in probes.items():
            found.append(host.probe_on(core))
        settled, since_ns = host.settle(), device.now_ns()
        with host.quiet():
            for _ in range(effort.looks):
                for stream, of_one in zip(_DIRECTIONS, readings, strict=True):
                    of_one.append(_reading(device, stream, copies[stream]))
        stretches_ns.append(device.now_ns() - since_ns)
        slow.append(not (settled and host.held()))
        if device.now_ns() - begun_ns > _LONGEST_NS:
            break
    return _host_seen(probes, round(median(stretches_ns)), fmean(slow)), readings


def _host_seen(probes: Mapping[int | None, Sequence[int]], stretch_ns: int, slow_stretches: float) -> HostSeen:
    fastest_ns = _fastest_ns([Reading(0, one) for found in probes.values() for one in found])
    cores = [Core(core, min(found), fmean(one > SLOW * fastest_ns for one in found)) for core, found in probes.items()]
    return HostSeen(sum(map(len, probes.values())), fastest_ns, tuple(cores), stretch_ns, slow_stretches)


def _reading(device: Device, stream: Stream, action: Action) -> Reading:
    begin_ns = device.now_ns()
    return Reading(begin_ns, timed_ns(device, stream, action))


def _beside(watch: Watch, stream: Stream) -> Steadiness:
    """Reference copies on a stream while the other direction copies as well."""
    slowdowns, opposite = CopySlowdowns(watch), watch.link.copies[_OPPOSITE[stream]]
    readings = []
    for _ in range(_CHAINS):
        begin_ns = watch.device.now_ns()
        for lasted_ns in slowdowns.chain(stream, _CHAIN, opposite, 2 * _CHAIN):
            readings.append(Reading(begin_ns, lasted_ns))
            begin_ns += lasted_ns
    return steadiness(readings, watch.device.slow_link)


def _load(watch: Watch, rest: GpuState | None, load_ns: int) -> GpuSeen:
    """One kernel again and again. What comes while the clocks still rise does not count."""
    device, kernel = watch.device, _kernel(watch.device)
    begun_ns = device.now_ns()
    while device.now_ns() < begun_ns + _WARM * load_ns:
        timed_ns(device, Stream.COMPUTE, kernel)
    before, warm_ns = _state_beside(device, kernel), device.now_ns()
    readings: list[Reading] = []
    watch.host.settle()
    with watch.host.quiet():
        while device.now_ns() < begun_ns + load_ns or len(readings) < _FEWEST_KERNELS:
            readings.append(_reading(device, Stream.COMPUTE, kernel))
    after = _state_beside(device, kernel)
    doubts = state_doubts(before, after, device.now_ns() - warm_ns)
    return GpuSeen(rest, after, tuple(doubts), steadiness(readings, _SLOW_KERNEL))


def _state_beside(device: Device, kernel: Action) -> GpuState | None:
    """The device's state while it works."""
    for _ in range(_AHEAD):
        kernel()
    state = device.state()
    device.drain()
    return state


def _kernel(device: Device) -> Action:
    """A product of two matrices in the device's slab. Their numbers are random: a GPU draws less for zeros."""
    side = _SIDES.get(device.torch_device.type, _SIDE)
    numbers = device.make_slab(3 * 4 * side * side)[: 3 * 4 * side * side].view(torch.float32)
    left, right, product = numbers.view(3, side, side).unbind()
    left.uniform_()
    right.uniform_()
    return device.on_compute(lambda: torch.matmul(left, right, out=product))
