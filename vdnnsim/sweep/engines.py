"""Two engines, one meaning: the vectorised recurrence where it is exact, the simulated machine elsewhere.

Both answer for one prepared program at many (link, compute scale) pairs. `run_points` decides: the recurrence where
`recurrence.covers` holds for the program on the GPU's link, nothing of the GPU is `uncovered`, streams that waited for
each other go on at once, and no time or area can leave 63 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile
from vdnnsim.program import Stream
from vdnnsim.sweep.hosts import Host
from vdnnsim.sweep.links import LinkTable
from vdnnsim.sweep.prepared import Prepared
from vdnnsim.sweep.recurrence import LONGEST_NS, GridDurations, Times, covers, evaluate, longest_ns
from vdnnsim.sweep.reference import ReferencePoints
from vdnnsim.sweep.scaling import LONGEST_SCALED_NS, scaled_durations_ns
from vdnnsim.sweep.segments import CopyKind
from vdnnsim.trace import Trace

_AT_ONCE = 1 << 14
"""Points worked out together: arrays of them stay in a core's cache."""


class Engine(StrEnum):
    """Which engine worked a point out; `AUTO` asks for the vectorised one wherever it is exact."""

    AUTO = "auto"
    VECTORISED = "vectorised"
    REFERENCE = "reference"


def uncovered(gpu: GpuProfile, trace: Trace) -> str:
    """Why the recurrence is exact for no program of this trace on this GPU; empty where it may be."""
    if gpu.host.after_wait is not None:
        return (
            "the host's calls cost more after a wait ([host.after_wait] of its profile), "
            "which the vectorised engine does not cover"
        )
    if gpu.link.kernels and any(row.kind in gpu.link.kernels for row in trace.rows):
        return "copies slow kernels ([link.kernels] of its profile), which the vectorised engine does not cover"
    return ""


def run_points(
    prepared: Prepared,
    links: LinkTable,
    link_of: np.ndarray,
    scales_ppm: np.ndarray,
    scale_of: np.ndarray,
    engine: Engine,
    host: Host | None = None,
) -> tuple[Times, Engine]:
    """The times of points given as numbers of links and of scales; on a host those of its slowest GPU, by the reference
    engine. All links must be possible."""
    gpu = prepared.study.gpu
    late_streams = gpu.host.stream_start_ns and any(prepared.script.holds)
    exact = (
        host is None
        and not (late_streams or uncovered(gpu, prepared.study.trace))
        and covers(prepared.lowered, gpu.link)
    )
    if engine is Engine.VECTORISED and prepared.lowered.uncovered:
        what = "demand paging" if prepared.program.paging else "a policy that puts tensors on NVMe"
        raise InvalidInput(f"engine: found vectorised and {what}, which it does not cover; expected auto or reference")
    if engine is not Engine.REFERENCE and exact:
        durations = _durations(prepared, links, scales_ppm)
        if durations is not None:
            return _vectorised(prepared, durations, link_of, scale_of), Engine.VECTORISED
    return _reference(prepared, links, link_of, scales_ppm, scale_of, host), Engine.REFERENCE


def _durations(prepared: Prepared, links: LinkTable, scales_ppm: np.ndarray) -> GridDurations | None:
    """Kernels by scale, shape (1, scales), and copies by link, shape (links, 1); None where numbers get too large."""
    lowered = prepared.lowered
    alone_ns = np.array([kind.duration_ns for kind in lowered.kernels], dtype=object)
    if alone_ns.max(initial=0) > LONGEST_SCALED_NS:
        return None
    kernels = scaled_durations_ns(alone_ns.astype(np.int64), scales_ppm)[:, None, :]
    outs = _copies_ns(links, Stream.COPY_OUT, lowered.outs)
    ins = _copies_ns(links, Stream.COPY_IN, lowered.ins)
    durations = GridDurations(list(outs), list(ins), list(kernels))
    longest = longest_ns(lowered, durations, prepared.study.gpu.host.synchronise_ns)
    return durations if longest < LONGEST_NS else None


def _copies_ns(links: LinkTable, stream: Stream, copies: Sequence[CopyKind]) -> np.ndarray:
    least_ns = np.array([copy.least_ns for copy in copies], dtype=np.int64)[:, None]
    alone_ns: np.ndarray = np.maximum(links.durations(stream, [copy.wire_bytes for copy in copies]), least_ns)
    return alone_ns[:, :, None]


def _vectorised(prepared: Prepared, durations: GridDurations, link_of: np.ndarray, scale_of: np.ndarray) -> Times:
    """Where links and scales are crossed, every combination is worked out, which shares what depends on one of them
    alone; else point by point."""
    synchronise_ns = prepared.study.gpu.host.synchronise_ns
    lowered = prepared.lowered
    links, scales = int(link_of.max()) + 1, int(scale_of.max()) + 1
    if links * scales <= 2 * len(link_of):
        columns = min(scales, _AT_ONCE)
        rows = max(1, _AT_ONCE // columns)
        whole = [np.empty((links, scales), dtype=np.int64) for _ in Times._fields]
        for row in range(0, links, rows):
            for column in range(0, scales, columns):
                part = np.s_[row : min(row + rows, links), column : min(column + columns, scales)]
                block = GridDurations(
                    [copy[part[0]] for copy in durations.outs],
                    [copy[part[0]] for copy in durations.ins],
                    [kernel[:, part[1]] for kernel in durations.kernels],
                )
                times = evaluate(lowered, block, synchronise_ns, whole[0][part].shape)
                for target, values in zip(whole, times, strict=True):
                    target[part] = values
        place_of = link_of * scales + scale_of
        if len(place_of) == links * scales and (place_of == np.arange(len(place_of))).all():  # each once, in order
            return Times(*(values.reshape(-1) for values in whole))
        return Times(*(values.reshape(-1)[place_of] for values in whole))
    parts = []
    for first in range(0, len(link_of), _AT_ONCE):
        link, scale = link_of[first : first + _AT_ONCE], scale_of[first : first + _AT_ONCE]
        block = GridDurations(
            [copy[link, 0] for copy in durations.outs],
            [copy[link, 0] for copy in durations.ins],
            [kernel[0, scale] for kernel in durations.kernels],
        )
        parts.append(evaluate(lowered, block, synchronise_ns, link.shape))
    return Times(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _reference(
    prepared: Prepared,
    links: LinkTable,
    link_of: np.ndarray,
    scales_ppm: np.ndarray,
    scale_of: np.ndarray,
    host: Host | None,
) -> Times:
    """Each distinct pair once: what has no copies, as the oracle, runs once for all links."""
    machines = ReferencePoints(prepared, host)
    pairs, pair_of = np.unique(np.stack([link_of, scale_of]), axis=1, return_inverse=True)
    runs = [machines.times(links, int(link), int(scales_ppm[scale])) for link, scale in pairs.T]
    return Times(*(np.array(column, dtype=np.int64)[pair_of.reshape(-1)] for column in zip(*runs, strict=True)))
