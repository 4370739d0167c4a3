"""A trace: how long each kernel of one network took, per layer, pass and algorithm, and where each number is from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.network import Network, layer_digests
from vdnnsim.units import PPM

PASSES = ("forward", "backward_data", "backward_filter", "backward", "backward_sum")
"""CONV has the first three; other layers forward and backward. backward_sum is the separate kernel with which some
frameworks add up the gradients of a map that several layers read; it belongs to the layer that wrote the map."""
DEFAULT_ALGORITHM = "default"
"""The algorithm of a pass that has only one way of running."""
MEMORY_OPTIMAL_NAME = "IMPLICIT_GEMM"
CARRIED = "carried-over"
"""The source of rows that were timed on another GPU (`vdnnsim.carrying`)."""
CUDNN_ALGORITHMS = {
    "forward": (
        "IMPLICIT_GEMM",
        "IMPLICIT_PRECOMP_GEMM",
        "GEMM",
        "DIRECT",
        "FFT",
        "FFT_TILING",
        "WINOGRAD",
        "WINOGRAD_NONFUSED",
    ),
    "backward_data": ("ALGO_0", "ALGO_1", "FFT", "FFT_TILING", "WINOGRAD", "WINOGRAD_NONFUSED"),
    "backward_filter": ("ALGO_0", "ALGO_1", "FFT", "ALGO_3", "WINOGRAD", "WINOGRAD_NONFUSED", "FFT_TILING"),
}
"""Names of CONV's algorithms by pass, in the order of cuDNN's enumerations (cudnnConvolutionFwdAlgo_t and so on),
without their prefix."""


class Provenance(StrEnum):
    """Where a number is from, from the strongest to the weakest."""

    MEASURED = "measured"
    PUBLISHED = "published"
    MODELLED = "modelled"


_STRENGTH = {provenance: rank for rank, provenance in enumerate(Provenance)}


def weakest(labels: Iterable[Provenance | str | None]) -> Provenance:
    """The weakest of some labels: what a result that used all of them may claim.

    What has no label (None) was not measured, as far as anybody knows, and counts as modelled; so does nothing at all.
    """
    known = [Provenance.MODELLED if label is None else Provenance(label) for label in labels]
    return max(known, key=_STRENGTH.__getitem__, default=Provenance.MODELLED)


class RowSpread(NamedTuple):
    """How widely the measurements behind a row spread: of duration and launch the range of the middle half over the
    median, in millionths; of the slowdowns in millionths of 1."""

    duration_ppm: int
    copy_out_ppm: int
    copy_in_ppm: int
    launch_ppm: int


class TraceRow(NamedTuple):
    """One kernel: `duration_ns` alone on the GPU, `workspace_bytes` it needs, and by how much a copy out or in that
    runs beside it is slowed (parts per million; 1_000_000 is not at all). `source` is a key of the header's sources.

    Measured traces also say what the host does for a kernel: `launch_ns`, what the launch costs the host (None: what
    the GPU's profile says of any kernel), and `start_ns`, from the beginning of the launch until the duration begins
    to count on an idle device, gaps between the kernel's parts included (None: the end of the launch). `spread` says
    how widely their numbers spread, and `disturbed` what they never ran undisturbed by. `kind` is the class of a
    captured kernel, by which a profile says how much copies slow it ("" in traces of networks).
    """

    layer: str
    pass_: str
    algorithm: str
    duration_ns: int
    workspace_bytes: int
    copy_out_slowdown_ppm: int = PPM
    copy_in_slowdown_ppm: int = PPM
    provenance: Provenance = Provenance.MODELLED
    source: str = ""
    launch_ns: int | None = None
    start_ns: int | None = None
    spread: RowSpread | None = None
    disturbed: str = ""
    kind: str = ""

    def launched_in(self, launch_ns: int) -> TraceRow:
        """The same with another launch: on an idle device it begins as long after that is over as before."""
        start_ns = None if self.start_ns is None else max(0, self.start_ns + launch_ns - (self.launch_ns or 0))
        return self._replace(launch_ns=launch_ns, start_ns=start_ns)


@dataclass(frozen=True)
class TraceHeader:
    """What a trace is of, and where it is from. `sources` explains each row's source in words; `conditions` says GPU,
    driver, library versions, clocks, date, repetitions and spread, as far as they are known. `layers` are the
    `layer_digests` of its network, by which a trace of another network is told; none where they are not known.
    `densities_ppm` says of feature maps, by their names, how many millionths of their 32-bit words are not zero as they
    would leave; none where nobody measured it."""

    gpu: str
    network: str
    batch: int
    math: str
    created_by: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    conditions: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    densities_ppm: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        network: Network,
        gpu: str,
        math: str,
        created_by: str = "",
        sources: Mapping[str, str] | None = None,
        conditions: Mapping[str, str] | None = None,
    ) -> TraceHeader:
        """The header of a trace that was made of this network."""
        layers = layer_digests(network)
        return cls(gpu, network.name, network.batch, math, created_by, sources or {}, conditions or {}, layers)

    @property
    def title(self) -> str:
        return f"{self.network} batch {self.batch} on {self.gpu}, {self.math}"


class Trace:
    """All rows of one network, looked up by layer and pass."""

    def __init__(self, header: TraceHeader, rows: Iterable[TraceRow]) -> None:
        self.header = header
        self.rows = tuple(rows)
        self._by_kernel = {(row.layer, row.pass_, row.algorithm): row for row in self.rows}

    def __repr__(self) -> str:
        return f"<Trace of {self.header.title}: {len(self.rows)} rows>"

    @cached_property
    def by_pass(self) -> Mapping[tuple[str, str], tuple[TraceRow, ...]]:
        """Every algorithm of each (layer, pass), in file order."""
        found: dict[tuple[str, str], list[TraceRow]] = {}
        for row in self.rows:
            found.setdefault((row.layer, row.pass_), []).append(row)
        return {key: tuple(rows) for key, rows in found.items()}

    @cached_property
    def sha256(self) -> str:
        """A digest of everything in it: two traces that differ anywhere have two of them."""
        header = asdict(self.header)
        if not header["densities_ppm"]:  # as before there were any
            del header["densities_ppm"]
        return hashlib.sha256(json.dumps([header, self.rows]).encode()).hexdigest()

    @cached_property
    def has_spreads(self) -> bool:
        """Whether it says of any row how widely its measurements spread."""
        return any(row.spread is not None for row in self.rows)

    def row(self, layer: str, pass_: str, algorithm: str) -> TraceRow:
        """The row of one kernel. Raises `InvalidInput` where the trace has none, and says what it has."""
        found = self._by_kernel.get((layer, pass_, algorithm))
        if found is None:
            known = ", ".join(row.algorithm for row in self.choices(layer, pass_)) or "none"
            raise InvalidInput(
                f"trace of {self.header.title}: no algorithm '{algorithm}' "
                f"for {pass_} of layer '{layer}'; it has: {known}"
            )
        return found

    def choices(self, layer: str, pass_: str) -> tuple[TraceRow, ...]:
        """Every algorithm of a pass, in file order; empty where the trace lacks the pass."""
        return self.by_pass.get((layer, pass_), ())

    def fastest(self, layer: str, pass_: str) -> TraceRow:
        """The fastest algorithm whatever its workspace, (p) in the paper; of equals the one with less workspace."""
        return min(self._some(layer, pass_), key=lambda row: (row.duration_ns, row.workspace_bytes, row.algorithm))

    def leanest(self, layer: str, pass_: str) -> TraceRow:
        """The algorithm with least workspace, (m) in the paper: implicit GEMM where it is one of these, else the
        fastest of them."""
        return min(
            self._some(layer, pass_),
            key=lambda row: (
                row.workspace_bytes,
                row.algorithm != MEMORY_OPTIMAL_NAME,
                row.duration_ns,
                row.algorithm,
            ),
        )

    def _some(self, layer: str, pass_: str) -> tuple[TraceRow, ...]:
        rows = self.choices(layer, pass_)
        if not rows:
            raise InvalidInput(f"trace of {self.header.title}: layer '{layer}' has no {pass_} row; add one")
        return rows
