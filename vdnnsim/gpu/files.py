"""GPU profiles on disk: TOML, with where each number is from; and those that came with the package."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from vdnnsim.catalog import data_directory
from vdnnsim.errors import Fault, InvalidFile, InvalidInput, InvalidValue, UnknownName, shown
from vdnnsim.files import line_of, parse_toml, read_text, toml_lines
from vdnnsim.gpu.after_wait import AfterWait, fault_of_extras, fault_of_waits
from vdnnsim.gpu.profile import BesideCopies, GpuProfile, HostCosts, Link, LinkCurve, LinkPoint, Power
from vdnnsim.units import PPM, parse_bandwidth, parse_bytes, parse_duration

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


class _Memory(_Sourced):
    capacity: _Size
    bandwidth: _Bandwidth


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


class _Curve(_Sourced):
    points: Annotated[list[_Point], Field(max_length=1000), AfterValidator(_rising)]

    def curve(self) -> LinkCurve:
        return _curve(self.points)


_Slowdown = Annotated[float, Field(ge=0.5, le=100, allow_inf_nan=False, strict=True)]


class _BothWays(_Sourced):
    copy_out_slowdown: _Slowdown
    copy_in_slowdown: _Slowdown


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


class _Link(_Strict):
    copy_out: _Curve
    copy_in: _Curve
    both_ways: _BothWays
    kernels: _Kernels | None = None


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


_Watts = Annotated[float, Field(ge=0, le=10**5, allow_inf_nan=False, strict=True)]


class _Power(_Sourced):
    idle_w: _Watts
    compute_w: _Watts
    copy_w: _Watts


class ProfileFile(_Strict):
    """The whole file."""

    schema_version: Literal[1] = Field(alias="schema")
    name: ProfileName
    title: str
    memory: _Memory
    link: _Link
    host: _Host
    power: _Power | None = None
    conditions: dict[str, str] = Field(default_factory=dict)

    def profile(self) -> GpuProfile:
        parts: dict[str, _Sourced] = {
            "memory": self.memory,
            "link.copy_out": self.link.copy_out,
            "link.copy_in": self.link.copy_in,
            "link.both_ways": self.link.both_ways,
            "host": self.host,
        }
        if self.link.kernels:
            parts["link.kernels"] = self.link.kernels
        if self.host.after_wait:
            parts["host.after_wait"] = self.host.after_wait
        if self.host.calls:
            parts["host.calls"] = self.host.calls
        power = None
        if self.power:
            parts["power"] = self.power
            power = Power(self.power.idle_w, self.power.compute_w, self.power.copy_w)
        both = self.link.both_ways
        host = self.host
        return GpuProfile(
            self.name,
            self.title,
            parse_bytes(self.memory.capacity),
            parse_bandwidth(self.memory.bandwidth),
            Link(
                self.link.copy_out.curve(),
                self.link.copy_in.curve(),
                round(both.copy_out_slowdown * PPM),
                round(both.copy_in_slowdown * PPM),
                self.link.kernels.by_kind() if self.link.kernels else {},
            ),
            HostCosts(
                host.kernel_ns,
                host.copy_ns,
                host.synchronise_ns,
                host.allocate_ns,
                host.free_ns,
                host.copy_start_ns,
                host.stream_wait_ns,
                host.after_wait.after_wait() if host.after_wait else None,
                host.calls.costs_ns if host.calls else {},
                host.stream_start_ns,
            ),
            power,
            {name: part.provenance for name, part in parts.items()},
            {name: part.source for name, part in parts.items()},
        )


def read_profile(path: Path) -> GpuProfile:
    """The profile in a TOML file. Raises `InvalidFile` with every fault: file, line, field, found, expected."""
    text = read_text(path)
    profile = parse_toml(text, str(path), ProfileFile).profile()
    limit = profile.memory_bandwidth_bytes_per_s
    expected = f"at most the {limit} B/s of the device memory behind it"
    faults = []
    for name, curve in (("copy_out", profile.link.copy_out), ("copy_in", profile.link.copy_in)):
        if curve.bandwidth_bytes_per_s > limit:
            found = f"points that reach {curve.bandwidth_bytes_per_s} B/s"
            faults.append(Fault(str(path), line_of(toml_lines(text), ("link", name)), f"link.{name}", found, expected))
    if faults:
        raise InvalidFile(faults)
    return profile


def list_profiles() -> Iterator[Path]:
    """The profiles that came with the package."""
    yield from sorted(data_directory("gpu_profiles").glob("*.toml"))


def profile_file(name: str | Path) -> Path:
    """The TOML file that is meant: the path itself, or that of a profile that came with the package. Raises
    `UnknownName`."""
    text = str(name)
    if isinstance(name, Path) or text.endswith(".toml") or "/" in text:
        return Path(name)
    known = {path.stem: path for path in list_profiles()}
    if text not in known:
        raise UnknownName("GPU", text, known)
    return known[text]


def load_profile(name: str | Path) -> GpuProfile:
    """A profile by name, or from a TOML file. Raises `UnknownName`, `InvalidFile`."""
    path = profile_file(name)
    profile = read_profile(path)
    if path != Path(name) and profile.name != path.stem:
        expected = f"'{path.stem}', as the file's name"
        raise InvalidFile([Fault(str(path), None, "name", f"'{profile.name}'", expected)])
    return profile
