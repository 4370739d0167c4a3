"""The tables of a profile's file that are the host's: calls, pinned memory, NVMe, an optimiser; and the watts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from vdnnsim.gpu.after_wait import AfterWait, fault_of_extras, fault_of_waits
from vdnnsim.gpu.fields import Bandwidth, Duration, Nanoseconds, Size, Sourced, text_of
from vdnnsim.gpu.nvme import REQUEST_BYTES, Nvme
from vdnnsim.gpu.pinning import Pinning, parse_budget
from vdnnsim.gpu.profile import HostCosts, HostMemory
from vdnnsim.units import parse_bandwidth, parse_bytes, parse_duration

_Times = Annotated[list[Nanoseconds], Field(max_length=1000)]


class AfterWaitTable(Sourced):
    """`[host.after_wait]`."""

    waits_ns: _Times
    kernel_ns: _Times
    copy_ns: _Times
    allocate_ns: _Times
    synchronise_ns: _Times

    @field_validator("waits_ns")
    @classmethod
    def _rising(cls, waits_ns: list[int]) -> list[int]:
        if fault := fault_of_waits(waits_ns):
            raise ValueError(fault)
        return waits_ns

    @field_validator("kernel_ns", "copy_ns", "allocate_ns", "synchronise_ns")
    @classmethod
    def _as_many(cls, extras_ns: list[int], info: ValidationInfo) -> list[int]:
        waits_ns = info.data.get("waits_ns")  # none where they have a fault of their own
        if waits_ns and (fault := fault_of_extras(extras_ns, waits_ns)):
            raise ValueError(fault)
        return extras_ns

    def after_wait(self) -> AfterWait:
        columns = (self.waits_ns, self.kernel_ns, self.copy_ns, self.allocate_ns, self.synchronise_ns)
        return AfterWait(*map(tuple, columns))


class _Calls(Sourced):
    costs_ns: Annotated[dict[str, Nanoseconds], Field(min_length=1, max_length=1000)]


class _Optimiser(Sourced):
    parameters_per_s: Annotated[int, Field(ge=1, le=10**15, strict=True)]


class HostTable(Sourced):
    """`[host]`."""

    kernel_ns: Nanoseconds
    copy_ns: Nanoseconds
    synchronise_ns: Nanoseconds
    allocate_ns: Nanoseconds
    free_ns: Nanoseconds
    copy_start_ns: Nanoseconds = 0
    stream_wait_ns: Nanoseconds = 0
    stream_start_ns: Nanoseconds = 0
    after_wait: AfterWaitTable | None = None
    calls: _Calls | None = None
    optimiser: _Optimiser | None = None

    def costs(self) -> HostCosts:
        return HostCosts(
            self.kernel_ns,
            self.copy_ns,
            self.synchronise_ns,
            self.allocate_ns,
            self.free_ns,
            self.copy_start_ns,
            self.stream_wait_ns,
            self.after_wait.after_wait() if self.after_wait else None,
            self.calls.costs_ns if self.calls else {},
            self.stream_start_ns,
            updates_per_s=self.optimiser.parameters_per_s if self.optimiser else None,
        )


class HostMemoryTable(Sourced):
    """`[host_memory]`."""

    capacity: Size | None = None
    bandwidth: Bandwidth | None = None

    def host_memory(self) -> HostMemory:
        return HostMemory(
            parse_bytes(self.capacity) if self.capacity else None,
            parse_bandwidth(self.bandwidth) if self.bandwidth else None,
        )


class PinnedTable(Sourced):
    """`[pinned]`."""

    budget: Annotated[str, text_of(parse_budget)] | None = None
    bandwidth: Bandwidth | None = None
    call_ns: Nanoseconds = 0
    when: Literal["once", "step"] = "once"
    blocks: Literal["exact", "powers-of-two"] = "exact"

    def pinning(self) -> Pinning:
        return Pinning(
            None if self.budget is None else parse_budget(self.budget),
            parse_bandwidth(self.bandwidth) if self.bandwidth else None,
            self.call_ns,
            self.when == "step",
            self.blocks == "powers-of-two",
        )


class NvmeTable(Sourced):
    """`[nvme]`."""

    write: Bandwidth
    read: Bandwidth
    write_latency: Duration | None = None
    read_latency: Duration | None = None
    queue_depth: Annotated[int, Field(ge=1, le=10**6, strict=True)] | None = None
    request: Size | None = None
    capacity: Size | None = None

    def nvme(self) -> Nvme:
        return Nvme(
            parse_bandwidth(self.write),
            parse_bandwidth(self.read),
            parse_duration(self.write_latency) if self.write_latency else 0,
            parse_duration(self.read_latency) if self.read_latency else 0,
            self.queue_depth,
            parse_bytes(self.request) if self.request else REQUEST_BYTES,
            parse_bytes(self.capacity) if self.capacity else None,
        )


_Watts = Annotated[float, Field(ge=0, le=10**5, allow_inf_nan=False, strict=True)]


class PowerTable(Sourced):
    """`[power]`."""

    idle_w: _Watts
    compute_w: _Watts
    copy_w: _Watts
