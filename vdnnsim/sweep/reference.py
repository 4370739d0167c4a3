"""The reference engine: the simulated machine, point by point, with what the points share made once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, compress
from operator import mul, sub

from vdnnsim.gpu import GpuProfile
from vdnnsim.machines.script import OUT, Durations, Script
from vdnnsim.machines.simulated import simulate
from vdnnsim.machines.simulated_host import Seat, simulate_together
from vdnnsim.machines.simulated_timeline import Moments, ends_by_step_ns, memory_times_ns
from vdnnsim.metrics.power import copy_time
from vdnnsim.program import Allocate
from vdnnsim.sweep.held import Held
from vdnnsim.sweep.hosts import Host
from vdnnsim.sweep.links import LinkTable
from vdnnsim.sweep.prepared import Prepared
from vdnnsim.together import Start, starts_of
from vdnnsim.trace import scaled_ns

_MOST_SCALES = 4096
_OUTS, _INS, _LATE = range(3)


class ReferencePoints:
    """Points of one prepared program. Keeps what they share: the script, the durations of kernels by scale, the GPU and
    the durations of copies behind the last link."""

    def __init__(self, prepared: Prepared, host: Host | None = None) -> None:
        steps, lowered = prepared.program.steps, prepared.lowered
        self._host = host
        self._script = prepared.script
        self._lowered = lowered
        self._kernels_ns = prepared.scaled_kernels_ns
        self._copies_ns: dict[int, tuple[GpuProfile, list[int], list[int]]] = {}
        self._nvme_ns = prepared.script.nvme_ns(prepared.study.gpu)
        self._inner_steps = [not step.in_classifier for step in steps]
        self._held = [held.all_bytes for held in lowered.held.waits]
        self._inner_held = [held.feature_extraction_bytes for held in lowered.held.waits]

    def times(self, links: LinkTable, link: int, scale_ppm: int) -> tuple[int, ...]:
        """The fields of `Times` of one point."""
        if link not in self._copies_ns:
            gpu = links.gpu(link)
            self._copies_ns = {link: (gpu, *self._script.copies_ns(gpu.link))}
        gpu, outs_ns, ins_ns = self._copies_ns[link]
        kernels_ns = self._scaled(scale_ppm)
        moments = self._simulated(Durations(outs_ns, ins_ns, kernels_ns, *self._nvme_ns), gpu)
        begins_ns, ends_ns = moments.kernels
        return self._numbers(moments, sum(ends_ns) - sum(begins_ns))

    def _simulated(self, durations: Durations, gpu: GpuProfile) -> Moments:
        """Of several GPUs of a host the one whose iteration takes longest, the first of those."""
        if self._host is None:
            return simulate(self._script, durations, gpu)
        topology, start = self._host
        alone_ns = 0 if start is Start.TOGETHER else self._end_ns(simulate(self._script, durations, gpu))
        starts_ns = starts_of(len(topology.gpus), start, alone_ns)
        seats = [Seat(self._script, durations, gpu, start_ns) for start_ns in starts_ns]
        return max(simulate_together(seats, topology), key=self._end_ns)

    def _end_ns(self, moments: Moments) -> int:
        ends_ns = ends_by_step_ns(self._script, moments)
        return ends_ns[-1] if ends_ns else 0

    def _scaled(self, scale_ppm: int) -> list[int]:
        if scale_ppm not in self._kernels_ns:
            if len(self._kernels_ns) >= _MOST_SCALES:
                self._kernels_ns.clear()
            self._kernels_ns[scale_ppm] = [scaled_ns(row.duration_ns, scale_ppm) for row in self._script.kernels]
        return self._kernels_ns[scale_ppm]

    def _numbers(self, moments: Moments, kernels_ns: int) -> tuple[int, ...]:
        lowered = self._lowered
        ends_ns = ends_by_step_ns(self._script, moments)
        iteration_ns = ends_ns[-1] if ends_ns else 0
        area, inner_area = self._held_over_time(moments, iteration_ns)
        stalls_ns, inner_stall_ns, in_waits_ns = self._stalls_ns(moments)
        stall_ns = sum(stalls_ns)
        copies = chain(zip(*moments.outs, strict=True), zip(*moments.ins, strict=True))
        return (
            iteration_ns,
            stall_ns,
            kernels_ns,
            area // iteration_ns if iteration_ns else lowered.held.end.all_bytes,
            sum(compress(map(sub, ends_ns, (0, *ends_ns)), self._inner_steps)),
            inner_stall_ns,
            inner_area // iteration_ns if iteration_ns else lowered.held.end.feature_extraction_bytes,
            *stalls_ns,
            _idle_in_waits_ns(self._script, moments) - in_waits_ns,
            *copy_time(zip(*moments.kernels, strict=True), copies),
            sum(map(sub, *map(self._again, reversed(moments.kernels)))),
        )

    def _again(self, times_ns: Sequence[int]) -> Iterator[int]:
        """Those of kernels that run once more."""
        return compress(times_ns, self._script.again)

    def _stalls_ns(self, moments: Moments) -> tuple[list[int], int, int]:
        """Stalls by what is waited for, in the order of `Times`; those of feature extraction; those in waits of the
        host."""
        by_cause_ns = [0, 0, 0]
        inner_ns = in_waits_ns = 0
        inner_steps, late_ins = self._inner_steps, self._script.late_ins
        for step, in_wait, (begin_ns, end_ns, engine), copy in moments.stalls:
            stall_ns = end_ns - begin_ns
            by_cause_ns[_OUTS if engine == OUT else _LATE if late_ins[copy] else _INS] += stall_ns
            if inner_steps[step]:
                inner_ns += stall_ns
            if in_wait:
                in_waits_ns += stall_ns
        return by_cause_ns, inner_ns, in_waits_ns

    def _held_over_time(self, moments: Moments, iteration_ns: int) -> Held:
        """Byte-nanoseconds: by what is held in each wait, where the host's own time is the same in every run."""
        if moments.memory_offsets_ns is not self._script.memory.offsets_ns:
            return _held_by_calls(self._script, moments, iteration_ns)
        lowered = self._lowered
        waits_ns = list(map(sub, moments.waits.ends_ns, moments.waits.begins_ns))
        after_ns = iteration_ns - lowered.host_ns - sum(waits_ns)  # the host is through, the engines are not
        area, inner_area = lowered.held.host_area
        area += sum(map(mul, self._held, waits_ns)) + lowered.held.end.all_bytes * after_ns
        inner_area += sum(map(mul, self._inner_held, waits_ns)) + lowered.held.end.feature_extraction_bytes * after_ns
        return Held(area, inner_area)


def _held_by_calls(script: Script, moments: Moments, iteration_ns: int) -> Held:
    """Byte-nanoseconds by when each buffer was taken and given back: for a host that goes cold while it waits."""
    area = inner_area = 0
    setup = ((buffer, 1, 0) for buffer in script.program.setup)
    signs = (1 if isinstance(command, Allocate) else -1 for command in script.memory.commands)
    buffers = (command.buffer for command in script.memory.commands)
    for buffer, sign, time_ns in chain(setup, zip(buffers, signs, memory_times_ns(script, moments), strict=True)):
        until_end = sign * buffer.size_bytes * (iteration_ns - time_ns)
        area += until_end
        inner_area += 0 if buffer.in_classifier else until_end
    return Held(area, inner_area)


def _idle_in_waits_ns(script: Script, moments: Moments) -> int:
    """How long the compute engine is idle in waits of the host: in stalls, and by what the calls cost
    (`metrics.spent`). A kernel given after a wait begins after it."""
    kernels_end_ns = [0, *moments.kernels.ends_ns]
    idle_ns = 0
    for given, begin_ns, end_ns in zip(script.kernels_given, *moments.waits, strict=True):
        since_ns = kernels_end_ns[given]
        if end_ns > since_ns:
            idle_ns += end_ns - (since_ns if since_ns > begin_ns else begin_ns)
    return idle_ns
