"""The reference engine: the simulated machine, point by point, with the program made once."""

from __future__ import annotations

from vdnnsim.gpu import GpuProfile
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.program import Kernel
from vdnnsim.sweep.links import LinkTable
from vdnnsim.sweep.prepared import Prepared
from vdnnsim.sweep.scaling import scaled_trace
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Trace

_MOST_TRACES = 4096


class ReferencePoints:
    """Points of one prepared program. Keeps what its points share: scaled traces, the GPU behind the last link."""

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        program, trace = prepared.program, prepared.study.trace
        kernels = [command for command in program.commands if isinstance(command, Kernel)]
        keys = dict.fromkeys((kernel.layer, kernel.pass_, kernel.algorithm) for kernel in kernels)
        self._trace = Trace(trace.header, [trace.row(*key) for key in keys])
        self._traces = prepared.scaled_traces
        self._gpus: dict[int, GpuProfile] = {}

    def times(self, links: LinkTable, link: int, scale_ppm: int) -> tuple[int, ...]:
        """The fields of `Times` of one point."""
        if link not in self._gpus:
            self._gpus = {link: links.gpu(link)}
        if scale_ppm not in self._traces:
            if len(self._traces) >= _MOST_TRACES:
                self._traces.clear()
            self._traces[scale_ppm] = scaled_trace(self._trace, scale_ppm)
        timeline = SimulatedMachine(self._traces[scale_ppm], self._gpus[link]).time(self._prepared.program)
        return self._numbers(timeline)

    def _numbers(self, timeline: Timeline) -> tuple[int, ...]:
        lowered, steps = self._prepared.lowered, self._prepared.program.steps
        iteration_ns = timeline.iteration_time_ns
        inner_ns = begin_ns = 0
        for step, end_ns in zip(steps, timeline.step_ends_ns, strict=True):
            if not step.in_classifier:
                inner_ns += end_ns - begin_ns
            begin_ns = end_ns
        area, inner_area = lowered.host_area
        host_end_ns = lowered.host_ns
        stall_ns = inner_stall_ns = 0
        for wait, held in zip(timeline.waits, lowered.waits_held, strict=True):
            wait_ns = wait.end_ns - wait.begin_ns
            host_end_ns += wait_ns
            area += held.all_bytes * wait_ns
            inner_area += held.feature_extraction_bytes * wait_ns
            stall_ns += wait.stall_ns
            if not steps[wait.step].in_classifier:
                inner_stall_ns += wait.stall_ns
        area += lowered.end.all_bytes * (iteration_ns - host_end_ns)
        inner_area += lowered.end.feature_extraction_bytes * (iteration_ns - host_end_ns)
        return (
            iteration_ns,
            stall_ns,
            sum(kernel.end_ns - kernel.begin_ns for kernel in timeline.kernels),
            area // iteration_ns if iteration_ns else lowered.end.all_bytes,
            inner_ns,
            inner_stall_ns,
            inner_area // iteration_ns if iteration_ns else lowered.end.feature_extraction_bytes,
        )
