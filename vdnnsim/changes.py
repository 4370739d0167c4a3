"""What is asked of a machine in place of its own: another link, other speeds of kernels or host, less pinned memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from vdnnsim.gpu import GpuProfile
from vdnnsim.trace import Trace, scaled_trace, with_launches
from vdnnsim.units import parse_factor

LOCAL, REMOTE = "local", "remote"
FASTER = "2 is twice as fast"
LONGER = "2 is twice as long"


class MachineOptions(TypedDict, total=False):
    """The same by name, as functions take it."""

    link_bandwidth_out: int | str | None
    link_bandwidth_in: int | str | None
    link_latency: int | str | None
    numa: str
    compute_scale: float
    host_scale: float
    pinned_budget: int | str | None


@dataclass(frozen=True)
class Changes:
    """`link_bandwidth_out` and `link_bandwidth_in` are bytes a second of large copies, or "16GB/s"; `link_latency`
    nanoseconds of the smallest copy, or "10us"; `numa` whether the host's memory is "local" or "remote" to the GPU;
    kernels run `compute_scale` times as fast; the host's calls take `host_scale` times as long; the host pins no more
    than `pinned_budget` bytes, or "64GB". All of it is modelled. Raises `InvalidValue` where it is used."""

    link_bandwidth_out: int | str | None = None
    link_bandwidth_in: int | str | None = None
    link_latency: int | str | None = None
    numa: str = LOCAL
    compute_scale: float = 1
    host_scale: float = 1
    pinned_budget: int | str | None = None

    def of_gpu(self, gpu: GpuProfile) -> GpuProfile:
        """The GPU with all of this but `numa`, which comes before every other change of a link."""
        if self.link_bandwidth_out is not None:
            gpu = gpu.with_link_bandwidth(self.link_bandwidth_out, ("copy_out",))
        if self.link_bandwidth_in is not None:
            gpu = gpu.with_link_bandwidth(self.link_bandwidth_in, ("copy_in",))
        if self.link_latency is not None:
            gpu = gpu.with_link_latency(self.link_latency)
        if self.pinned_budget is not None:
            gpu = gpu.with_pinned_budget(self.pinned_budget)
        return gpu.with_host_scale(self.host_ppm)

    def of_trace(self, trace: Trace) -> Trace:
        """The trace with kernels and launches of other speeds."""
        return with_launches(scaled_trace(trace, self.compute_ppm), self.host_ppm)

    @property
    def compute_ppm(self) -> int:
        return parse_factor(self.compute_scale, "compute scale", FASTER)

    @property
    def host_ppm(self) -> int:
        return parse_factor(self.host_scale, "host scale", LONGER)
