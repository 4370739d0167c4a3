"""A measured link as a GPU profile: the TOML text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import tomli_w

from vdnnsim.gpu import AfterWait, GpuProfile, Link, LinkCurve, ProfileFile
from vdnnsim.gpu.picture import picture
from vdnnsim.units import PPM, parse_bandwidth

if TYPE_CHECKING:
    from vdnnsim.calibration.link import Copies, LinkReport


WIDE_PPM = 100_000
"""A spread that a profile's user is told of: the middle half over the median, in millionths."""
_STEADY_KINDS = ("copy out", "copy in", "synchronise", "iteration of these")


def profile_name(gpu: str) -> str:
    """A profile's name from the device's: "NVIDIA H200, ..." is "h200"."""
    words = re.findall(r"[a-z0-9]+", gpu.split(",")[0].lower())
    kept = [word for word in words if word not in ("nvidia", "geforce", "tesla", "gpu")]
    return "-".join(kept) or "gpu"


def _title(gpu: str) -> str:
    """The device's name for people: of a GPU without its memory and cores, of a CPU all there is."""
    return gpu.partition("none: ")[2] or gpu.partition(",")[0]


def profile_text(report: LinkReport, name: str) -> str:
    """The profile of a measured device."""
    link, host = report.link, report.host
    source = f"Measured {report.date} with 'vdnnsim calibrate link'; medians. {report.repetitions}."
    calls = ("kernel_ns", "copy_ns", "synchronise_ns", "allocate_ns", "free_ns", "copy_start_ns", "stream_wait_ns")
    document: dict[str, object] = {
        "schema": 1,
        "name": name,
        "title": _title(report.conditions["gpu"]),
        "memory": {
            "capacity": f"{report.capacity_bytes} B",
            "bandwidth": f"{report.memory_bandwidth_bytes_per_s} B/s",
            **_measured(
                "Capacity: all memory that the driver reports. Bandwidth: bytes read and written by a copy within "
                f"device memory. {source}"
            ),
        },
        "link": {
            "copy_out": _curve(link.copy_out, source, report.spreads_ppm.get("copy out", 0)),
            "copy_in": _curve(link.copy_in, source, report.spreads_ppm.get("copy in", 0)),
            "both_ways": _both_ways(link, source),
        },
        "host": {
            **{name: getattr(host, name) for name in calls},
            **_measured(
                "Calls of offloading programs, each where it is given; a wait with nothing to wait for; a copy with "
                f"a wait, less both and the copy itself; an event recorded and a stream made to wait for it. {source}"
            ),
            **({"after_wait": _after_wait(host.after_wait, source)} if host.after_wait else {}),
        },
    }
    if host.pinning.bytes_per_s:
        how = f"Fresh memory pinned, its pages written first; a line through medians of sizes from 1 MiB. {source}"
        costs = {"bandwidth": f"{host.pinning.bytes_per_s} B/s", "call_ns": host.pinning.call_ns}
        document["pinned"] = costs | _measured(how)
    if report.power:
        power, how = report.power
        document["power"] = asdict(power) | _measured(f"{how} Measured {report.date}.")
    document["conditions"] = {
        **report.conditions,
        "date": report.date,
        "repetitions": report.repetitions,
        "spread": _spreads(report),
        **({"disturbed": ", ".join(report.disturbed)} if report.disturbed else {}),
    }
    return _text_of(document)


def with_link(text: str, copies: Copies, date: str) -> str:
    """A profile's text with a link that was measured again, without all else."""
    document = tomllib.loads(text)
    source = f"Measured {date} beside a model's training; medians."
    link = copies.link
    reached = max(link.copy_out.bandwidth_bytes_per_s, link.copy_in.bandwidth_bytes_per_s)
    if reached > parse_bandwidth(document["memory"]["bandwidth"]):  # a copy within memory was slower than one to it
        document["memory"]["bandwidth"] = f"{reached} B/s"
    document["link"] |= {
        "copy_out": _curve(link.copy_out, source, copies.out.spread_ppm),
        "copy_in": _curve(link.copy_in, source, copies.back.spread_ppm),
        "both_ways": _both_ways(link, source),
    }
    return _text_of(document)


def _text_of(document: dict[str, object]) -> str:
    """The file, with the machine drawn on top."""
    return picture(ProfileFile.model_validate(document)) + tomli_w.dumps(document)


def _both_ways(link: Link, source: str) -> dict[str, object]:
    return {
        "copy_out_slowdown": max(0.5, link.both_ways_out_slowdown_ppm / PPM),
        "copy_in_slowdown": max(0.5, link.both_ways_in_slowdown_ppm / PPM),
        **_measured(f"The largest copy alone and beside copies the other way. {source}"),
    }


def _measured(source: str) -> dict[str, str]:
    return {"provenance": "measured", "source": source}


def _curve(curve: LinkCurve, source: str, spread_ppm: int) -> dict[str, object]:
    points = [
        {"size": f"{point.size_bytes} B", "duration": f"{point.duration_ns} ns", "spread_ppm": point.spread_ppm}
        for point in curve.points
    ]
    widest = f"Largest spread from 1 MiB on: {spread_ppm / 1e4:.2f} %."
    return {"points": points, **_measured(f"Pinned host memory, one copy at a time. {source} {widest}")}


def _after_wait(table: AfterWait, source: str) -> dict[str, object]:
    columns = ("waits_ns", "kernel_ns", "copy_ns", "allocate_ns", "synchronise_ns")
    how = "Calls of offloading programs by how long the host had waited since the last of their kind, less what a "
    return {**{name: getattr(table, name) for name in columns}, **_measured(f"{how}warm one costs. {source}")}


def unsteadiness(report: LinkReport) -> str:
    """A remark where what counts most spread widely, or nothing."""
    wide = {kind: ppm for kind, ppm in report.spreads_ppm.items() if kind in _STEADY_KINDS and ppm > WIDE_PPM}
    if not wide:
        return ""
    parts = ", ".join(f"{kind} {ppm / 1e4:.0f} %" for kind, ppm in wide.items())
    return f"; unsteady: {parts} (middle half over median); measure again while nothing else runs"


def _spreads(report: LinkReport) -> str:
    parts = [f"{kind} {spread_ppm / 1e4:.1f} %" for kind, spread_ppm in report.spreads_ppm.items()]
    return "middle half over median: " + ", ".join(parts)


def with_host_costs(text: str, profile: GpuProfile, measuring: Iterable[tuple[str, int, str]]) -> str:
    """A profile's text with the pool's costs of `profile`, and which cases they are from."""
    groups = ", ".join(f"{network} ({batch}) {math}" for network, batch, math in sorted(measuring))
    document = tomllib.loads(text)
    host = document["host"]
    host |= {"allocate_ns": profile.host.allocate_ns, "free_ns": profile.host.free_ns}
    rest = re.sub(r"Allocations and frees: [^.]*\. ", "", host["source"], count=1)
    host["source"] = f"Allocations and frees: from the offloading cases of {groups}, which are not held out. {rest}"
    return _text_of(document)
