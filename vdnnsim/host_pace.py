"""Whether the host keeps up with the device in a captured step, told from the capture alone (docs/model.md, "The host
of a captured step").

A step's kernels, copies and launches repeat to a percent or two; a host does not. Its pace changes by a fifth from step
to step, and it has slow phases, for minutes, in which all its calls take more than half as long again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from vdnnsim.captured.agenda import STEP_BEGINS, STEP_ENDS
from vdnnsim.gpu import GpuProfile
from vdnnsim.machines.script import script_of
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.program import Program
from vdnnsim.trace import Trace
from vdnnsim.units import format_ms

VARIES = 1.2
"""From one step to the next a host may be slower by this factor. Measured on the hosts of an H200 and an H100, of 16
virtual CPUs each: a step's time on the host changes by 20 % to either side."""
PHASES = 1.6
"""A host's slow phase against its quick one: the median time between two launches was 32 to 38 us, and 20 to 24 us at
other times, on the same machines, with and without copies. What makes it slow is not known."""
BINDS = 50
"""The host binds a step that a slower one makes longer by this part: one fiftieth, as elsewhere (`metrics.loss`)."""

_AT_ONCE_PER_S = 10**24


class HostPace(NamedTuple):
    """How a step's time hangs on its host, all in nanoseconds: `host_ns` is what the host's calls take by themselves,
    launches and hooks and the optimiser that it runs; `device_ns` what the step takes with a host whose calls cost
    nothing and which updates at once, by its kernels and its link; `slower_ns` what it takes with a host slower by
    `VARIES`. `quick_ns` and `slow_ns` are what it takes with a host that is as quick, and as slow, as this one may turn
    out to be."""

    host_ns: int
    device_ns: int
    slower_ns: int
    quick_ns: int
    slow_ns: int

    @property
    def bound(self) -> bool:
        """Whether the host binds: with one slower by `VARIES` the step is longer, by a fiftieth or more, than with one
        that costs nothing."""
        return binds(self.slower_ns, self.device_ns)

    def __str__(self) -> str:
        calls, device, quick, slow = map(format_ms, (self.host_ns, self.device_ns, self.quick_ns, self.slow_ns))
        return f"its calls take {calls}, kernels and link need {device}; {quick} to {slow} as its pace may change"


def binds(slower_ns: int, device_ns: int) -> bool:
    """The rule of `HostPace.bound`."""
    return (slower_ns - device_ns) * BINDS >= device_ns and slower_ns > device_ns


@dataclass(frozen=True)
class Paces:
    """The machines of a trace and a GPU with other hosts: one that costs nothing, one slower by `VARIES`, and both as
    far as phases go."""

    trace: Trace
    gpu: GpuProfile
    free: SimulatedMachine
    slower: SimulatedMachine
    quicker: SimulatedMachine
    slow: SimulatedMachine
    quick: SimulatedMachine

    def of(self, program: Program) -> HostPace:
        """The pace of the host in this program. A host that binds may be in either phase, so that it may as well be
        quicker or slower by `PHASES`; one that does not is taken to keep up but for what varies from step to step."""
        host_ns = sum(script_of(program, self.trace, self.gpu.host).calls_ns)
        device_ns, slower_ns = (machine.iteration_time_ns(program) for machine in (self.free, self.slower))
        if not binds(slower_ns, device_ns):
            return HostPace(host_ns, device_ns, slower_ns, self.quicker.iteration_time_ns(program), slower_ns)
        quick_ns, slow_ns = (machine.iteration_time_ns(program) for machine in (self.quick, self.slow))
        return HostPace(host_ns, device_ns, slower_ns, quick_ns, slow_ns)


def paces_of(trace: Trace, gpu: GpuProfile) -> Paces:
    """What `Paces.of` needs of every program."""
    factors = (0.0, VARIES, 1 / VARIES, PHASES, 1 / PHASES)
    return Paces(trace, gpu, *(with_host(trace, gpu, factor) for factor in factors))


def with_host(trace: Trace, gpu: GpuProfile, factor: float) -> SimulatedMachine:
    """The machine with a host all of whose calls take so many times as long, rounded to nanoseconds. What it is late by
    at both ends of a step stays, as there is only one of each; so does how fast it updates parameters, but for a host
    that costs nothing."""

    def scaled(cost_ns: int) -> int:
        return round(cost_ns * factor)

    rows = (row if row.launch_ns is None else row.launched_in(scaled(row.launch_ns)) for row in trace.rows)
    ends_ns = {what: gpu.host.calls_ns[what] for what in (STEP_BEGINS, STEP_ENDS) if what in gpu.host.calls_ns}
    host = gpu.host.with_calls(scaled)
    host = replace(host, calls_ns={**host.calls_ns, **ends_ns})
    if not factor and host.updates_per_s is not None:
        host = replace(host, updates_per_s=_AT_ONCE_PER_S)
    return SimulatedMachine(Trace(trace.header, rows), replace(gpu, host=host))
