"""A GPU as the simulated machine sees it: capacity, link, what the host's calls cost, power for the estimate."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

from vdnnsim.errors import InvalidInput, InvalidValue
from vdnnsim.gpu.after_wait import AfterWait
from vdnnsim.gpu.nvme import Nvme
from vdnnsim.gpu.pinning import Pinning, parse_budget
from vdnnsim.units import PPM, format_bytes, parse_bandwidth, parse_bytes, parse_duration, scaled_by

_SMALLEST_BYTES = 4096
_LARGEST_BYTES = 1 << 30
"""Between which a curve of one bandwidth is drawn."""


WAYS = ("copy_out", "copy_in")
"""The directions of a link, by the names of their curves."""


class LinkPoint(NamedTuple):
    """How long one pinned copy of this size takes alone; `spread_ppm` is the range of the middle half over that, in
    millionths, 0 where nobody noted it."""

    size_bytes: int
    duration_ns: int
    spread_ppm: int = 0


@dataclass(frozen=True, slots=True)
class LinkCurve:
    """Copy time by size, piecewise linear between points; below the first point its time, beyond the last one the
    slope of the last two."""

    points: tuple[LinkPoint, ...]

    def __post_init__(self) -> None:
        sizes = [point.size_bytes for point in self.points]
        times = [point.duration_ns for point in self.points]
        if len(sizes) < 2 or sorted(set(sizes)) != sizes or sorted(set(times)) != times:
            found = f"sizes {sizes[:4]} with times {times[:4]}"
            raise InvalidValue("link", found, "two points or more, both sizes and times rising")

    def duration_ns(self, size_bytes: int) -> int:
        """Nanoseconds of a copy of so many bytes, alone on the link."""
        points = self.points
        if size_bytes <= points[0].size_bytes:
            return points[0].duration_ns
        index = min(bisect_right(points, (size_bytes,)), len(points) - 1)
        left, right = points[index - 1], points[index]
        rise = (right.duration_ns - left.duration_ns) * (size_bytes - left.size_bytes)
        return left.duration_ns + rise // (right.size_bytes - left.size_bytes)

    @classmethod
    def straight(cls, bandwidth_bytes_per_s: int, latency_ns: int = 0) -> LinkCurve:
        """The curve of which only what large copies reach is known, and, if so, what the smallest takes (as 4 KiB,
        and at least the time of these bytes)."""
        start_ns = max(latency_ns, 1, _SMALLEST_BYTES * 10**9 // bandwidth_bytes_per_s)
        rest_ns = round((_LARGEST_BYTES - _SMALLEST_BYTES) * 1e9 / bandwidth_bytes_per_s)
        return cls((LinkPoint(_SMALLEST_BYTES, start_ns), LinkPoint(_LARGEST_BYTES, start_ns + max(1, rest_ns))))

    def delayed_to(self, latency_ns: int) -> LinkCurve:
        """The smallest copy takes this, and every other one as much more than it as before. Raises `InvalidValue`."""
        later_ns = latency_ns - self.points[0].duration_ns
        return LinkCurve(tuple(point._replace(duration_ns=point.duration_ns + later_ns) for point in self.points))

    @property
    def bandwidth_bytes_per_s(self) -> int:
        """What large copies reach: the size over the time of the last point, without the start-up of the first."""
        return round(_slope(self.points) * 1e9)

    def scaled_to(self, bandwidth_bytes_per_s: int) -> LinkCurve:
        """The same start-up time, and the rest of each copy faster or slower so that large ones reach this.

        Each rise from point to point is rounded for itself, so that more bandwidth never makes a copy slower by a
        rounding, of whatever size it is; and it is a nanosecond at least, since larger copies take longer.
        """
        factor = self.bandwidth_bytes_per_s / bandwidth_bytes_per_s
        points = [self.points[0]]
        for left, right in pairwise(self.points):
            rise_ns = max(1, round((right.duration_ns - left.duration_ns) * factor))
            points.append(LinkPoint(right.size_bytes, points[-1].duration_ns + rise_ns))
        return LinkCurve(tuple(points))


def _slope(points: Sequence[LinkPoint]) -> float:
    first, last = points[0], points[-1]
    return (last.size_bytes - first.size_bytes) / (last.duration_ns - first.duration_ns)


class BesideCopies(NamedTuple):
    """By how much a kernel is slowed (parts per million; 1_000_000 is not at all) while a copy out, or in, runs."""

    out_slowdown_ppm: int = PPM
    in_slowdown_ppm: int = PPM


@dataclass(frozen=True, slots=True)
class Link:
    """Both directions, and by how much each is slowed (parts per million) while the other runs as well. `kernels` says
    by how much copies slow the kernels beside them, by the kernels' class (`trace.TraceRow.kind`); others they do not
    slow."""

    copy_out: LinkCurve
    copy_in: LinkCurve
    both_ways_out_slowdown_ppm: int = PPM
    both_ways_in_slowdown_ppm: int = PPM
    kernels: Mapping[str, BesideCopies] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostCosts:
    """Nanoseconds that the host spends on one call of each kind; `copy_start_ns` is how long after its call a copy
    begins on an idle engine, `stream_start_ns` how long after the end of a piece of work another stream goes on that
    waited for it, `stream_wait_ns` what recording an event and letting a stream wait for it take,
    `after_wait` what calls cost more when the host has waited (None: nothing), `calls_ns` what calls cost that put
    nothing on a stream, by their names (`program.HostCall`; one that is not there costs nothing), `pinning` what there
    is of pinned memory, and its cost, and `updates_per_s` how many parameters its optimiser updates in a second (None:
    not known)."""

    kernel_ns: int = 0
    copy_ns: int = 0
    synchronise_ns: int = 0
    allocate_ns: int = 0
    free_ns: int = 0
    copy_start_ns: int = 0
    stream_wait_ns: int = 0
    after_wait: AfterWait | None = None
    calls_ns: Mapping[str, int] = field(default_factory=dict)
    stream_start_ns: int = 0
    pinning: Pinning = field(default_factory=Pinning)
    updates_per_s: int | None = None

    def update_ns(self, parameters: int) -> int:
        """How long its optimiser takes for so many parameters, rounded up. Raises `InvalidInput` where that is not
        known."""
        if self.updates_per_s is None:
            raise InvalidInput(
                "host: found no optimiser, expected [host.optimiser] in the GPU's profile, where the host is to run "
                "it; a profile of your own may add it to this one (docs/profiles.md)"
            )
        return -(-parameters * 10**9 // self.updates_per_s)

    def with_calls(self, scaled: Callable[[int], int]) -> HostCosts:
        """The same with every call's cost scaled; what the device takes to start, and what waits add, stays."""
        return replace(
            self,
            kernel_ns=scaled(self.kernel_ns),
            copy_ns=scaled(self.copy_ns),
            synchronise_ns=scaled(self.synchronise_ns),
            allocate_ns=scaled(self.allocate_ns),
            free_ns=scaled(self.free_ns),
            stream_wait_ns=scaled(self.stream_wait_ns),
            calls_ns={what: scaled(cost_ns) for what, cost_ns in self.calls_ns.items()},
        )


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Memory of the host behind the link, and how fast all that reads and writes it together can be; None where it is
    not known."""

    capacity_bytes: int | None = None
    bandwidth_bytes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class Power:
    """Watts for the power estimate: idle, with kernels running, and added while the link copies."""

    idle_w: float
    compute_w: float
    copy_w: float


@dataclass(frozen=True, slots=True)
class GpuProfile:
    """One GPU. `link` is the way to memory of its own socket, `remote` to another one's (None: not known), `nvme` what
    lies behind the host's memory (None: nothing). `provenance` says, field by field, where the numbers are from."""

    name: str
    title: str
    capacity_bytes: int
    memory_bandwidth_bytes_per_s: int
    link: Link
    host: HostCosts = HostCosts()
    power: Power | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    remote: Link | None = None
    host_memory: HostMemory = HostMemory()
    nvme: Nvme | None = None

    @property
    def sha256(self) -> str:
        """A digest of everything in it."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def with_capacity(self, capacity: int | str) -> GpuProfile:
        """The same GPU with another amount of memory, in bytes or as "12 GB". Raises `InvalidValue`."""
        return replace(self, capacity_bytes=_positive(capacity, "capacity", parse_bytes))

    def with_link_bandwidth(self, bandwidth: int | str, ways: Sequence[str] = WAYS) -> GpuProfile:
        """The same GPU behind another link, in bytes per second or as "16 GB/s", in these of `WAYS`, which is modelled,
        whatever this one is. Raises `InvalidValue`, also for one that is faster than the memory behind it."""
        bandwidth_bytes_per_s = _positive(bandwidth, "link bandwidth", parse_bandwidth)
        if bandwidth_bytes_per_s > self.memory_bandwidth_bytes_per_s:
            most = f"{format_bytes(self.memory_bandwidth_bytes_per_s)}/s"
            expected = f"at most the {most} of the device memory of {self.name} behind it"
            raise InvalidValue("link bandwidth", f"{format_bytes(bandwidth_bytes_per_s)}/s", expected)
        scaled = f"Scaled to {bandwidth_bytes_per_s} B/s."
        return self._with_curves(ways, lambda curve: curve.scaled_to(bandwidth_bytes_per_s), scaled)

    def with_link_latency(self, latency: int | str) -> GpuProfile:
        """The same GPU with another time of the smallest copy, both ways, in nanoseconds or as "10 us"; every other
        copy takes as much more as before. Raises `InvalidValue`."""
        latency_ns = _positive(latency, "link latency", parse_duration)
        return self._with_curves(WAYS, lambda curve: curve.delayed_to(latency_ns), f"Begun in {latency_ns} ns.")

    def _with_curves(self, ways: Sequence[str], changed: Callable[[LinkCurve], LinkCurve], how: str) -> GpuProfile:
        curves: dict[str, LinkCurve] = {way: changed(getattr(self.link, way)) for way in ways}
        parts = [f"link.{way}" for way in ways]
        told = {part: f"{how} {self.sources.get(part, '')}".strip() for part in parts}
        return replace(
            self,
            link=replace(self.link, **curves),  # type: ignore[arg-type]
            provenance={**self.provenance, **dict.fromkeys(parts, "modelled")},
            sources={**self.sources, **told},
        )

    def on_numa(self, where: str) -> GpuProfile:
        """The same GPU with the host's memory on its own socket, "local", or on another one, "remote". Raises
        `InvalidValue`, also where the way to that is not known."""
        if where == "local":
            return self
        if where != "remote" or self.remote is None:
            known = "local" if self.remote is None else "local or remote"
            unknown = ": its profile has no [link.remote]" if where == "remote" else ""
            raise InvalidValue("numa", f"'{where}'", f"{known} for {self.name}{unknown}")
        parts = ("copy_out", "copy_in", "both_ways")
        own = {part: text for part, text in self.provenance.items() if part not in {f"link.{name}" for name in parts}}
        labels = {f"link.{name}": self.provenance.get(f"link.remote.{name}") for name in parts}
        sources = {f"link.{name}": self.sources.get(f"link.remote.{name}", "") for name in parts}
        return replace(
            self,
            link=self.remote,
            provenance={**own, **{part: label for part, label in labels.items() if label}},
            sources={**self.sources, **sources},
        )

    def with_host_scale(self, scale_ppm: int) -> GpuProfile:
        """The same GPU with a host whose calls take `scale_ppm` millionths of their time, which is modelled."""
        if scale_ppm == PPM:
            return self
        host = self.host.with_calls(lambda cost_ns: scaled_by(cost_ns, scale_ppm))
        return replace(self, host=host, provenance={**self.provenance, "host": "modelled"})

    def drive(self) -> Nvme:
        """Its NVMe. Raises `InvalidInput` where there is none."""
        if self.nvme is None:
            raise InvalidInput(
                f"gpu {self.name}: nvme: found nothing, expected [nvme] in its profile, where tensors are to go on to "
                "it; a profile of your own may add it to this one (docs/profiles.md)"
            )
        return self.nvme

    def with_pinned_budget(self, budget: int | str) -> GpuProfile:
        """The same GPU with a host that pins so much, in bytes or as "64 GB"; 0 for one that cannot. Raises
        `InvalidValue`."""
        pinning = replace(self.host.pinning, budget_bytes=parse_budget(budget))
        return replace(self, host=replace(self.host, pinning=pinning))


def _positive(value: int | str, what: str, parse: Callable[[str, str], int]) -> int:
    if isinstance(value, str):
        return parse(value, what)
    if value < 1:
        raise InvalidValue(what, str(value), "1 or more")
    return value
