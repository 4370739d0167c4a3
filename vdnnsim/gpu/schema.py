"""What a profile's TOML file holds (docs/profiles.md): every table with where its numbers are from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from vdnnsim.errors import InvalidInput, InvalidValue, shown
from vdnnsim.gpu.fields import Bandwidth, Duration, Rate, Size, Sourced, Strict
from vdnnsim.gpu.host_schema import HostMemoryTable, HostTable, NvmeTable, PinnedTable, PowerTable
from vdnnsim.gpu.pinning import Pinning
from vdnnsim.gpu.profile import BesideCopies, GpuProfile, HostCosts, HostMemory, Link, LinkCurve, LinkPoint, Power
from vdnnsim.gpu.roofline import Roofline
from vdnnsim.units import PPM, parse_bandwidth, parse_bytes, parse_duration, parse_rate

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


class _Memory(Sourced):
    capacity: Size
    bandwidth: Bandwidth


class _Roofline(Sourced):
    memory: Bandwidth
    fp32: Rate
    tf32: Rate | None = None
    lacks: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)

    def roofline(self, gpu: str) -> Roofline:
        rates = {"fp32": self.fp32} | ({"tf32": self.tf32} if self.tf32 else {})
        operations = {math: parse_rate(rate) for math, rate in rates.items()}
        return Roofline(gpu, operations, parse_bandwidth(self.memory), frozenset(self.lacks), self.source)


class _Point(Strict):
    size: Size
    duration: Duration
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


class Curve(Sourced):
    """Points that somebody measured, or what large copies reach, with the time of a small one where it is known."""

    points: Annotated[list[_Point], Field(max_length=1000), AfterValidator(_rising)] | None = None
    bandwidth: Bandwidth | None = None
    latency: Duration | None = None

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


class _BothWays(Sourced):
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


class _BesideCopies(Strict):
    kind: Annotated[str, Field(min_length=1, max_length=100)]
    copy_out: _Slowdown
    copy_in: _Slowdown


def _each_once(kernels: list[_BesideCopies]) -> list[_BesideCopies]:
    kinds = [entry.kind for entry in kernels]
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise ValueError(f"each kind once, and {shown(twice)} is there twice")
    return kernels


class _Kernels(Sourced):
    slowdowns: Annotated[list[_BesideCopies], Field(min_length=1, max_length=100), AfterValidator(_each_once)]

    def by_kind(self) -> dict[str, BesideCopies]:
        return {
            entry.kind: BesideCopies(round(entry.copy_out * PPM), round(entry.copy_in * PPM))
            for entry in self.slowdowns
        }


class Way(Strict):
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


def _told(part: Sourced) -> tuple[str, str]:
    return part.provenance, part.source


class ProfileFile(Strict):
    """The whole file, with what its base says where it has one."""

    schema_version: Literal[1] = Field(alias="schema")
    name: ProfileName
    title: str
    base: str = ""
    memory: _Memory
    roofline: _Roofline | None = None
    no_link: str = ""
    link: _Link | None = None
    host: HostTable | None = None
    host_memory: HostMemoryTable | None = None
    pinned: PinnedTable | None = None
    nvme: NvmeTable | None = None
    power: PowerTable | None = None
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
        parts: dict[str, Sourced | None] = {"memory": self.memory, "host": self.host}
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
