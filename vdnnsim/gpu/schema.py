"""What a profile's TOML file holds (docs/profiles.md): every table with where its numbers are from."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from vdnnsim.errors import InvalidInput, InvalidValue, shown
from vdnnsim.gpu.after_wait import AfterWait, fault_of_extras, fault_of_waits
from vdnnsim.gpu.nvme import REQUEST_BYTES, Nvme
from vdnnsim.gpu.pinning import Pinning, parse_budget
from vdnnsim.gpu.profile import BesideCopies, GpuProfile, HostCosts, HostMemory, Link, LinkCurve, LinkPoint, Power
from vdnnsim.gpu.roofline import Roofline
from vdnnsim.units import PPM, parse_bandwidth, parse_bytes, parse_duration, parse_rate

_Nanoseconds = Annotated[int, Field(ge=0, le=10**12, strict=True)]
_Label = Literal["measured", "published", "modelled"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NAMES = "small letters, digits, '.', '_' and '-', a letter or digit first, such as rtx-4090"


def _profile_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(_NAMES)
    return name


ProfileName = Annotated[str, AfterValidator(_profile_name)]
"""What a GPU can be called, in profiles, traces and commands, and as the name of a file."""


def check_profile_name(name: str, what: str) -> None:
    """Raise `InvalidInput` for what no GPU can be called; `what` names the option it is from."""
    try:
        _profile_name(name)
    except ValueError as error:
        raise InvalidInput(f"{what}: found {shown(name)}, expected {error}") from None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Sourced(_Strict):
    provenance: _Label
    source: str


def _text(parse: Callable[[str], object]) -> AfterValidator:
    """A text that `parse` can read."""

    def check(text: str) -> str:
        try:
            parse(text)
        except InvalidValue as error:
            raise ValueError(error.expected) from None
        return text

    return AfterValidator(check)


_Size = Annotated[str, _text(parse_bytes)]
_Duration = Annotated[str, _text(parse_duration)]
_Bandwidth = Annotated[str, _text(parse_bandwidth)]
_Rate = Annotated[str, _text(parse_rate)]


class _Memory(_Sourced):
    capacity: _Size
    bandwidth: _Bandwidth


class _Roofline(_Sourced):
    memory: _Bandwidth
    fp32: _Rate
    tf32: _Rate | None = None
    lacks: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)

    def roofline(self, gpu: str) -> Roofline:
        rates = {"fp32": self.fp32} | ({"tf32": self.tf32} if self.tf32 else {})
        operations = {math: parse_rate(rate) for math, rate in rates.items()}
        return Roofline(gpu, operations, parse_bandwidth(self.memory), frozenset(self.lacks), self.source)


class _Point(_Strict):
    size: _Size
    duration: _Duration
    spread_ppm: Annotated[int, Field(ge=0, le=10**9, strict=True)] = 0

    def point(self) -> LinkPoint:
        return LinkPoint(parse_bytes(self.size), parse_duration(self.duration), self.spread_ppm)


def _curve(points: Sequence[_Point]) -> LinkCurve:
    return LinkCurve(tuple(point.point() for point in points))


def _rising(points: list[_Point]) -> list[_Point]:
    try:
        _curve(points)
    except InvalidValue as error:
        raise ValueError(error.expected) from None
    return points


class Curve(_Sourced):
    """Points that somebody measured, or what large copies reach, with the time of a small one where it is known."""

    points: Annotated[list[_Point], Field(max_length=1000), AfterValidator(_rising)] | None = None
    bandwidth: _Bandwidth | None = None
    latency: _Duration | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Curve:
        if (self.points is None) == (self.bandwidth is None) or (self.latency and not self.bandwidth):
            raise ValueError("points, or bandwidth and, where it is known, latency")
        return self

    def curve(self) -> LinkCurve:
        if self.points is not None:
            return _curve(self.points)
        latency_ns = parse_duration(self.latency) if self.latency else 0
        return LinkCurve.straight(parse_bandwidth(self.bandwidth or ""), latency_ns)


_Slowdown = Annotated[float, Field(ge=0.5, le=100, allow_inf_nan=False, strict=True)]


class _BothWays(_Sourced):
    copy_out_slowdown: _Slowdown | None = None
    copy_in_slowdown: _Slowdown | None = None

    @model_validator(mode="after")
    def _some(self) -> _BothWays:
        if self.copy_out_slowdown is None and self.copy_in_slowdown is None:
            raise ValueError("copy_out_slowdown, copy_in_slowdown, or both")
        return self

    @property
    def label(self) -> str:
        """Its own where both are known; what is not there is taken as not slowed."""
        return "modelled" if None in (self.copy_out_slowdown, self.copy_in_slowdown) else self.provenance


def _ppm(slowdown: float | None) -> int:
    return PPM if slowdown is None else round(slowdown * PPM)


class _BesideCopies(_Strict):
    kind: Annotated[str, Field(min_length=1, max_length=100)]
    copy_out: _Slowdown
    copy_in: _Slowdown


def _each_once(kernels: list[_BesideCopies]) -> list[_BesideCopies]:
    kinds = [entry.kind for entry in kernels]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise ValueError(f"each kind once, and {shown(twice)} is there twice")
    return kernels


class _Kernels(_Sourced):
    slowdowns: Annotated[list[_BesideCopies], Field(min_length=1, max_length=100), AfterValidator(_each_once)]

    def by_kind(self) -> dict[str, BesideCopies]:
        return {
            entry.kind: BesideCopies(round(entry.copy_out * PPM), round(entry.copy_in * PPM))
            for entry in self.slowdowns
        }


class Way(_Strict):
    """A way between the GPU and memory of the host: each direction, and both at once."""

    copy_out: Curve
    copy_in: Curve
    both_ways: _BothWays | None = None

    def link(self, kernels: _Kernels | None) -> Link:
        both = self.both_ways
        return Link(
            self.copy_out.curve(),
            self.copy_in.curve(),
            _ppm(both.copy_out_slowdown if both else None),
            _ppm(both.copy_in_slowdown if both else None),
            kernels.by_kind() if kernels else {},
        )

    def labels(self, name: str) -> dict[str, tuple[str, str]]:
        """Label and source of each part."""
        found = {f"{name}.copy_out": _told(self.copy_out), f"{name}.copy_in": _told(self.copy_in)}
        if self.both_ways:
            found[f"{name}.both_ways"] = (self.both_ways.label, self.both_ways.source)
        return found


class _Link(Way):
    kernels: _Kernels | None = None
    remote: Way | None = None


_Times = Annotated[list[_Nanoseconds], Field(max_length=1000)]


class _AfterWait(_Sourced):
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


class _Calls(_Sourced):
    costs_ns: Annotated[dict[str, _Nanoseconds], Field(min_length=1, max_length=1000)]


class _Optimiser(_Sourced):
    parameters_per_s: Annotated[int, Field(ge=1, le=10**15, strict=True)]


class _Host(_Sourced):
    kernel_ns: _Nanoseconds
    copy_ns: _Nanoseconds
    synchronise_ns: _Nanoseconds
    allocate_ns: _Nanoseconds
    free_ns: _Nanoseconds
    copy_start_ns: _Nanoseconds = 0
    stream_wait_ns: _Nanoseconds = 0
    stream_start_ns: _Nanoseconds = 0
    after_wait: _AfterWait | None = None
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


class _HostMemory(_Sourced):
    capacity: _Size | None = None
    bandwidth: _Bandwidth | None = None

    def host_memory(self) -> HostMemory:
        return HostMemory(
            parse_bytes(self.capacity) if self.capacity else None,
            parse_bandwidth(self.bandwidth) if self.bandwidth else None,
        )


class _Pinned(_Sourced):
    budget: Annotated[str, _text(parse_budget)] | None = None
    bandwidth: _Bandwidth | None = None
    call_ns: _Nanoseconds = 0
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


class _Nvme(_Sourced):
    write: _Bandwidth
    read: _Bandwidth
    write_latency: _Duration | None = None
    read_latency: _Duration | None = None
    queue_depth: Annotated[int, Field(ge=1, le=10**6, strict=True)] | None = None
    request: _Size | None = None
    capacity: _Size | None = None

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


class _Power(_Sourced):
    idle_w: _Watts
    compute_w: _Watts
    copy_w: _Watts


def _told(part: _Sourced) -> tuple[str, str]:
    return part.provenance, part.source


class ProfileFile(_Strict):
    """The whole file, with what its base says where it has one."""

    schema_version: Literal[1] = Field(alias="schema")
    name: ProfileName
    title: str
    base: str = ""
    memory: _Memory
    roofline: _Roofline | None = None
    no_link: str = ""
    link: _Link | None = None
    host: _Host | None = None
    host_memory: _HostMemory | None = None
    pinned: _Pinned | None = None
    nvme: _Nvme | None = None
    power: _Power | None = None
    conditions: dict[str, str] = Field(default_factory=dict)

    @field_validator("link")
    @classmethod
    def _one_of_two(cls, link: _Link | None, info: ValidationInfo) -> _Link | None:
        if link and info.data.get("no_link"):
            raise ValueError("none beside no_link")
        return link

    def profile(self) -> GpuProfile:
        """What the machine simulates. The file must have a link."""
        assert self.link is not None
        told = self._labels()
        pinning = self.pinned.pinning() if self.pinned else Pinning()
        power = Power(self.power.idle_w, self.power.compute_w, self.power.copy_w) if self.power else None
        return GpuProfile(
            self.name,
            self.title,
            parse_bytes(self.memory.capacity),
            parse_bandwidth(self.memory.bandwidth),
            self.link.link(self.link.kernels),
            replace(self.host.costs() if self.host else HostCosts(), pinning=pinning),
            power,
            {name: label for name, (label, _) in told.items()},
            {name: source for name, (_, source) in told.items()},
            self.link.remote.link(self.link.kernels) if self.link.remote else None,
            self.host_memory.host_memory() if self.host_memory else HostMemory(),
            self.nvme.nvme() if self.nvme else None,
        )

    def _labels(self) -> dict[str, tuple[str, str]]:
        parts: dict[str, _Sourced | None] = {"memory": self.memory, "host": self.host}
        told: dict[str, tuple[str, str]] = {}
        if self.link:
            told |= self.link.labels("link")
            parts["link.kernels"] = self.link.kernels
            if self.link.remote:
                told |= self.link.remote.labels("link.remote")
        if self.host:
            own = self.host
            parts |= {f"host.{name}": getattr(own, name) for name in ("after_wait", "calls", "optimiser")}
        parts |= {"host_memory": self.host_memory, "pinned": self.pinned, "nvme": self.nvme, "power": self.power}
        return told | {name: _told(part) for name, part in parts.items() if part}
