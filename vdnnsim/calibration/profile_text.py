"""A measured link as a GPU profile: the TOML text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from vdnnsim.gpu import AfterWait, GpuProfile, LinkCurve
from vdnnsim.gpu.profile import Power
from vdnnsim.units import PPM

if TYPE_CHECKING:
    from vdnnsim.calibration.link import LinkReport


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
    lines = [
        "schema = 1",
        f'name = "{name}"',
        f'title = "{_plain(_title(report.conditions["gpu"]))}"',
        "",
        "[memory]",
        f'capacity = "{report.capacity_bytes} B"',
        f'bandwidth = "{report.memory_bandwidth_bytes_per_s} B/s"',
        'provenance = "measured"',
        'source = "Capacity: all memory that the driver reports. Bandwidth: bytes read and written by a copy within '
        f'device memory. {source}"',
        "",
        *_curve("copy_out", link.copy_out, source, report.spreads_ppm.get("copy out", 0)),
        *_curve("copy_in", link.copy_in, source, report.spreads_ppm.get("copy in", 0)),
        "[link.both_ways]",
        f"copy_out_slowdown = {max(0.5, link.both_ways_out_slowdown_ppm / PPM)}",
        f"copy_in_slowdown = {max(0.5, link.both_ways_in_slowdown_ppm / PPM)}",
        'provenance = "measured"',
        f'source = "The largest copy alone and beside copies the other way. {source}"',
        "",
        "[host]",
        f"kernel_ns = {host.kernel_ns}",
        f"copy_ns = {host.copy_ns}",
        f"synchronise_ns = {host.synchronise_ns}",
        f"allocate_ns = {host.allocate_ns}",
        f"free_ns = {host.free_ns}",
        f"copy_start_ns = {host.copy_start_ns}",
        f"stream_wait_ns = {host.stream_wait_ns}",
        'provenance = "measured"',
        f'source = "Calls of offloading programs, each where it is given; a wait with nothing to wait for; a copy with '
        f'a wait, less both and the copy itself; an event recorded and a stream made to wait for it. {source}"',
        "",
        *(_after_wait(host.after_wait, source) if host.after_wait else ()),
        *(_power(*report.power, report.date) if report.power else ()),
        "[conditions]",
        *(f'"{key}" = "{_plain(text)}"' for key, text in report.conditions.items()),
        f'"date" = "{report.date}"',
        f'"repetitions" = "{report.repetitions}"',
        f'"spread" = "{_spreads(report)}"',
        *([f'"disturbed" = "{", ".join(report.disturbed)}"'] if report.disturbed else []),
    ]
    return "\n".join(lines) + "\n"


def _curve(name: str, curve: LinkCurve, source: str, spread_ppm: int) -> list[str]:
    points = [
        f'  {{ size = "{point.size_bytes} B", duration = "{point.duration_ns} ns", spread_ppm = {point.spread_ppm} }},'
        for point in curve.points
    ]
    return [
        f"[link.{name}]",
        "points = [",
        *points,
        "]",
        'provenance = "measured"',
        f'source = "Pinned host memory, one copy at a time. {source} Largest spread from 1 MiB on: '
        f'{spread_ppm / 1e4:.2f} %."',
        "",
    ]


def _after_wait(table: AfterWait, source: str) -> list[str]:
    columns = ("waits_ns", "kernel_ns", "copy_ns", "allocate_ns", "synchronise_ns")
    return [
        "[host.after_wait]",
        *(f"{name} = {list(getattr(table, name))}" for name in columns),
        'provenance = "measured"',
        f'source = "Calls of offloading programs by how long the host had waited since the last of their kind, less '
        f'what a warm one costs. {source}"',
        "",
    ]


def _power(power: Power, how: str, date: str) -> list[str]:
    return [
        "[power]",
        f"idle_w = {power.idle_w}",
        f"compute_w = {power.compute_w}",
        f"copy_w = {power.copy_w}",
        'provenance = "measured"',
        f'source = "{how} Measured {date}."',
        "",
    ]


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


def _plain(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")


def with_host_costs(text: str, profile: GpuProfile, measuring: Iterable[tuple[str, int, str]]) -> str:
    """A profile's text with the pool's costs of `profile`, and which cases they are from."""
    groups = ", ".join(f"{network} ({batch}) {math}" for network, batch, math in sorted(measuring))
    note = f"Allocations and frees: from the offloading cases of {groups}, which are not held out. "
    text = re.sub(r"(?m)^allocate_ns = \d+$", f"allocate_ns = {profile.host.allocate_ns}", text)
    text = re.sub(r"(?m)^free_ns = \d+$", f"free_ns = {profile.host.free_ns}", text)
    head, host, tail = text.partition("[host]")
    tail = re.sub(r"Allocations and frees: [^.]*\. ", "", tail, count=1)
    return head + host + re.sub(r'(?m)^source = "', f'source = "{note}', tail, count=1)
