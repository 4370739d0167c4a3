"""What is true of the fake machine, and so what a calibration has to find: kernels, link, costs of the host's calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from zlib import crc32

from vdnnsim.gpu import GpuProfile, HostCosts, Link, LinkCurve, LinkPoint, Pinning
from vdnnsim.network import Kind, Layer, Network
from vdnnsim.trace import DEFAULT_ALGORITHM, Provenance, Trace, TraceHeader, TraceRow, required_passes
from vdnnsim.units import PPM

NAME = "fake"


class TrueKernel(NamedTuple):
    """One algorithm of one pass: as the fields of `TraceRow`."""

    algorithm: str
    duration_ns: int
    workspace_bytes: int = 0
    launch_ns: int = 6_000
    start_ns: int = 9_000
    slows_out_ppm: int = PPM
    slows_in_ppm: int = PPM


KernelTable = Callable[[Layer, str], Sequence[TrueKernel]]
"""Every algorithm of a layer's pass."""


def derived_kernels(layer: Layer, pass_: str) -> tuple[TrueKernel, ...]:
    """Times and slowdowns drawn from the layer's shapes, the pass and the algorithm: those of FFT slow copies by up to
    1.5, of the others one in four by up to 1.1. Kernels take 30 to 130 us and more the larger their map is."""
    names = ("IMPLICIT_GEMM", "FFT", "WINOGRAD") if layer.kind is Kind.CONV else (DEFAULT_ALGORITHM,)
    return tuple(_derived(layer, pass_, name) for name in names)


def _derived(layer: Layer, pass_: str, name: str) -> TrueKernel:
    shapes = (layer.kind.value, layer.input_shapes, layer.output_shape, layer.kernel, layer.stride, layer.padding)
    draw = _Draw(repr((*shapes, layer.groups, layer.bias, layer.average, layer.size, pass_, name)))
    per_gb_us = draw.between(2_000, 20_000)
    duration_ns = draw.between(30_000, 130_000) + per_gb_us * layer.output_bytes // 1_000_000
    launch_ns = draw.between(4_000, 12_000)
    start_ns = launch_ns + draw.between(-1_000, 6_000)
    most = 500_000 if name == "FFT" else 100_000 if draw.between(0, 3) == 0 else 0
    slows = (PPM + draw.between(0, most), PPM + draw.between(0, most) // 2)
    workspace_bytes = {"FFT": 2, "WINOGRAD": 1}.get(name, 0) * layer.output_bytes
    return TrueKernel(name, duration_ns, workspace_bytes, launch_ns, start_ns, *slows)


class _Draw:
    """Numbers from a text, the same everywhere and always."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._drawn = 0

    def between(self, least: int, most: int) -> int:
        self._drawn += 1
        return least + crc32(f"{self._drawn} {self._text}".encode()) % (most - least + 1)


class Marks(NamedTuple):
    """What one mark costs the host, what it takes on its stream, and how long after its call it gets there."""

    host_ns: int = 0
    stream_ns: int = 0
    start_ns: int = 0


def straight_curve(start_ns: int, bytes_per_us: int) -> LinkCurve:
    """Copies of 4 KiB to 1 GiB that take a start and so many bytes in each microsecond."""
    sizes = [4096 << index for index in range(19)]
    return LinkCurve(tuple(LinkPoint(size, start_ns + size * 1000 // bytes_per_us) for size in sizes))


LINK = Link(straight_curve(4_000, 55_000), straight_curve(5_000, 52_000), 1_040_000, 1_070_000)
PINNING = Pinning(bytes_per_s=4 * 10**9, call_ns=90_000)
HOST = HostCosts(4_000, 3_000, 600, 1_500, 1_200, copy_start_ns=2_500, stream_wait_ns=1_900, pinning=PINNING)
MARKS = Marks(start_ns=2_500)


@dataclass(frozen=True)
class Truth:
    """The fake machine at full speed. What calls cost more after a wait, if anything, is in `host.after_wait`."""

    link: Link = LINK
    host: HostCosts = HOST
    marks: Marks = MARKS
    clock_ns: int = 0
    probe_ns: int = 60_000
    kernels: KernelTable = derived_kernels
    other_kernels_ns: int = 100_000
    """What a kernel takes that no layer has."""
    capacity_bytes: int = 80_000_000_000
    other_bytes: int = 1_000_000_000
    """What each other process holds of the card's memory."""

    def profile(self) -> GpuProfile:
        """The GPU profile that a calibration has to find."""
        bandwidth = 2_000_000_000_000
        return GpuProfile(NAME, "Fake GPU", self.capacity_bytes, bandwidth, self.link, self.host)

    def trace(self, network: Network, math: str = "fp32") -> Trace:
        """The trace that a calibration has to find."""
        rows = [
            TraceRow(
                name,
                pass_,
                kernel.algorithm,
                kernel.duration_ns,
                kernel.workspace_bytes,
                kernel.slows_out_ppm,
                kernel.slows_in_ppm,
                Provenance.MEASURED,
                "true",
                kernel.launch_ns,
                kernel.start_ns,
            )
            for name, pass_ in required_passes(network)
            for kernel in self.kernels(network.by_name[name], pass_)
        ]
        sources = {"true": "the fake machine itself"}
        return Trace(TraceHeader(NAME, network.name, network.batch, math, "tests", sources), rows)

    def kernel(self, layer: Layer, pass_: str, algorithm: str) -> TrueKernel:
        """The one that is asked for."""
        return next(kernel for kernel in self.kernels(layer, pass_) if kernel.algorithm == algorithm)
