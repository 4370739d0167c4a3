"""The machine that a profile describes, drawn in its file: engines, device memory, link, memory of the host."""

from __future__ import annotations

from vdnnsim.gpu.schema import ProfileFile, Way
from vdnnsim.units import format_bytes, parse_bandwidth, parse_bytes

_GPU_WIDTH = 48
_LINK_WIDTH = 22
_HOST_WIDTH = 24


def picture(file: ProfileFile) -> str:
    """The picture as lines of a comment."""
    link = file.link
    gpu = _box(file.name, ["", *_gpu(file)], _GPU_WIDTH, 6)
    host = _box("host", ["", "memory", *_host(file)], _HOST_WIDTH, 6)
    between = ["", *(_arrows(link) if link else _none()), ""]
    lines = [f"{left}{_middle(line)}{right}" for left, line, right in zip(gpu, between, host, strict=True)]
    beside = [*_both_ways("both ways at once", link), *_remote(file)]
    return "\n".join(f"#  {line}".rstrip() for line in ["", *lines, *beside, ""]) + "\n"


def _box(title: str, words: list[str], width: int, rows: int) -> list[str]:
    edge = f"+{f' {title} '.center(width, '-')}+"
    inner = [f"| {line:{width - 2}} |" for line in [*words, *[""] * rows][:rows]]
    return [edge, *inner, f"+{'-' * width}+"]


def _gpu(file: ProfileFile) -> list[str]:
    memory = f"{format_bytes(parse_bytes(file.memory.capacity))}, {_rate(parse_bandwidth(file.memory.bandwidth))}"
    lines = ["compute engine   ---   device memory", f"{'':23}{memory}"]
    if file.roofline:
        rates = [file.roofline.fp32 + " fp32", *([file.roofline.tf32 + " tf32"] if file.roofline.tf32 else [])]
        lines += [", ".join(rates), f"{'':23}{_rate(parse_bandwidth(file.roofline.memory))} specified"]
    return lines


def _host(file: ProfileFile) -> list[str]:
    memory = file.host_memory.host_memory() if file.host_memory else None
    words = []
    if memory and memory.capacity_bytes:
        words.append(format_bytes(memory.capacity_bytes))
    if memory and memory.bandwidth_bytes_per_s:
        words.append(_rate(memory.bandwidth_bytes_per_s))
    return words


def _middle(line: str) -> str:
    return f"{line:^{_LINK_WIDTH}}"


def _arrows(link: Way) -> list[str]:
    out, back = (_rate(curve.curve().bandwidth_bytes_per_s) for curve in (link.copy_out, link.copy_in))
    return ["", f"out {out}", _arrow(" ", ">"), f"in {back}", _arrow("<", " "), ""]


def _none() -> list[str]:
    return ["", "", "one memory", "no link", "", ""]


def _arrow(left: str, right: str) -> str:
    return f"{left}{'=' * (_LINK_WIDTH - 4)}{right}"


def _both_ways(words: str, way: Way | None) -> list[str]:
    if way is None or way.both_ways is None:
        return []
    ways = ((way.copy_out, way.both_ways.copy_out_slowdown), (way.copy_in, way.both_ways.copy_in_slowdown))
    out, back = (
        _rate(curve.curve().bandwidth_bytes_per_s / slowed) if slowed else "not known" for curve, slowed in ways
    )
    return [f"{words}: out {out}, in {back}"]


def _remote(file: ProfileFile) -> list[str]:
    way = file.link.remote if file.link else None
    if way is None:
        return []
    out, back = (_rate(curve.curve().bandwidth_bytes_per_s) for curve in (way.copy_out, way.copy_in))
    return [f"memory of another socket: out {out}, in {back}", *_both_ways("both ways at once there", way)]


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1e9:.4g} GB/s"
