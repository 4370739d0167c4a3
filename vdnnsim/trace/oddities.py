"""What a trace may hold but seldom means: no faults, since nothing forbids them, and worth a look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set

from vdnnsim.network import Network
from vdnnsim.trace.table import CUDNN_ALGORITHMS, DEFAULT_ALGORITHM, MEMORY_OPTIMAL_NAME, Trace, TraceRow
from vdnnsim.units import PPM

_LEAST_SLOWDOWN_PPM, _MOST_SLOWDOWN_PPM = 970_000, 10 * PPM
"""No kernel speeds a copy up; what is measured may scatter by a few percent. None on record slows one tenfold."""
_LEANEST = frozenset({MEMORY_OPTIMAL_NAME, "ALGO_0"})
"""Implicit GEMM, which gradients have as ALGO_0 in cuDNN."""


def oddities(trace: Trace, network: Network | None = None) -> Iterator[str]:
    """One sentence for each kind of oddity, with how often it is there and where first. Without the network a trace
    cannot be compared with it, which is one."""
    if network is None:
        yield f"not compared with {trace.header.network}: name its file too"
    if not trace.header.layers:
        yield "[identity] has no layers, so that a trace of another network would not be noticed"
    rows = trace.rows
    yield from _found("a duration of 0 ns", (row for row in rows if not row.duration_ns))
    yield from _found("a copy slowdown below 0.97: no kernel speeds a copy up", filter(_speeds_up, rows))
    yield from _found("a copy slowdown above 10", filter(_slows_tenfold, rows))
    convolutions = {row.layer for row in rows if row.pass_ == "backward_filter"}
    unknown = (row for row in rows if row.algorithm not in _known_algorithms(row, convolutions))
    yield from _found("an algorithm that cuDNN does not have", unknown)
    leanless = (found[0] for found in _passes(trace, convolutions) if not _LEANEST & {row.algorithm for row in found})
    yield from _found("no IMPLICIT_GEMM, which (m) policies would choose, for a pass of CONV", leanless)


def _found(what: str, rows: Iterable[TraceRow]) -> Iterator[str]:
    found = list(rows)
    if found:
        first = " ".join(found[0][:3])
        yield f"{what}: {first}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")


def _slowdowns_ppm(row: TraceRow) -> tuple[int, int]:
    return row.copy_out_slowdown_ppm, row.copy_in_slowdown_ppm


def _speeds_up(row: TraceRow) -> bool:
    return min(_slowdowns_ppm(row)) < _LEAST_SLOWDOWN_PPM


def _slows_tenfold(row: TraceRow) -> bool:
    return max(_slowdowns_ppm(row)) > _MOST_SLOWDOWN_PPM


def _known_algorithms(row: TraceRow, convolutions: Set[str]) -> Set[str]:
    """A gradient may go by the forward pass's name for the same way of running it."""
    if row.layer not in convolutions or row.pass_ not in CUDNN_ALGORITHMS:
        return {DEFAULT_ALGORITHM}
    return {DEFAULT_ALGORITHM, *CUDNN_ALGORITHMS["forward"], *CUDNN_ALGORITHMS[row.pass_]}


def _passes(trace: Trace, convolutions: Set[str]) -> list[Sequence[TraceRow]]:
    """The rows of each pass of each CONV."""
    keys = dict.fromkeys((row.layer, row.pass_) for row in trace.rows if row.pass_ in CUDNN_ALGORITHMS)
    return [trace.choices(*key) for key in keys if key[0] in convolutions]
