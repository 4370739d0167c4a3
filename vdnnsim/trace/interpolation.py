"""Traces for batches that nobody measured: linear in the batch between two that somebody did, never beyond them.

Kernels of large batches take time in proportion to the images, plus a start; between two batches a straight line
is right as far as the library keeps its choice of code. How far that is, is said by leaving out: every batch that has
measured ones on both sides is interpolated from these as well, and compared with what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.network import Network
from vdnnsim.trace.matching import required_passes
from vdnnsim.trace.table import Provenance, Trace, TraceRow
from vdnnsim.units import PPM

INTERPOLATED = "interpolated"
"""The source of rows that lie between those of two batches."""


class Interpolated(NamedTuple):
    """`error_ppm` is the leave-one-out error, None where there are fewer than three batches to leave one out of;
    `batches` are the two that the trace lies between."""

    trace: Trace
    batches: tuple[int, int]
    error_ppm: int | None


def interpolate_trace(network: Network, traces: Mapping[int, Trace]) -> Interpolated:
    """The trace of the network at its batch, from traces of the same network, GPU and math by their batch.

    Raises `InvalidInput` where the batch does not lie between two of them, or these have no algorithm in common.
    """
    batches = sorted(traces)
    below = [batch for batch in batches if batch < network.batch]
    above = [batch for batch in batches if batch > network.batch]
    if not below or not above:
        raise InvalidInput(f"batch: found {network.batch}, expected one between measured ones: {batches}")
    low, high = below[-1], above[0]
    error_ppm = leave_one_out_error_ppm(traces)
    stated = (
        "unknown, since no batch between two others can be compared"
        if error_ppm is None
        else f"{error_ppm / 10_000:.1f} %"
    )
    text = f"modelled: linear in the batch between {low} and {high}; leave-one-out error of kernel times {stated}."
    rows = _between(traces[low], traces[high], network.batch)
    present = {(row.layer, row.pass_) for row in rows}
    for layer, pass_ in required_passes(network):
        if (layer, pass_) not in present:
            raise InvalidInput(
                f"batch: found {network.batch}; the traces of batch {low} and {high} have no algorithm in common for "
                f"{pass_} of layer '{layer}', expected one or more"
            )
    header = traces[low].header
    layers = header.layers if header.layers == traces[high].header.layers else ()  # both are known, or it is not
    own = replace(
        header, network=network.name, batch=network.batch, sources={INTERPOLATED: text}, conditions={}, layers=layers
    )
    return Interpolated(Trace(own, rows), (low, high), error_ppm)


def leave_one_out_error_ppm(traces: Mapping[int, Trace]) -> int | None:
    """For each batch between two others: the sum over kernels of how far its interpolation is off, as a part of the
    sum of what they take. The largest of these, in parts per million. None where nothing can be said: where there is no
    such batch, none with algorithms in common with its neighbours, or where most of its times are modelled. A model
    that is linear in the batch would agree with the line whatever the truth is."""
    batches = sorted(traces)
    errors = [
        _error_ppm(_between(traces[low], traces[high], batch), traces[batch])
        for low, batch, high in zip(batches, batches[1:], batches[2:], strict=False)
    ]
    return max((error for error in errors if error is not None), default=None)


def _error_ppm(rows: Sequence[TraceRow], timed: Trace) -> int | None:
    known = {(row.layer, row.pass_, row.algorithm): row for row in timed.rows}
    off = total = modelled = 0
    for row in rows:
        own = known.get((row.layer, row.pass_, row.algorithm))
        if own is None:
            continue
        if own.provenance is Provenance.MODELLED:
            modelled += own.duration_ns
            continue
        off += abs(row.duration_ns - own.duration_ns)
        total += own.duration_ns
    return off * PPM // total if total > modelled else None


def _between(low: Trace, high: Trace, batch: int) -> list[TraceRow]:
    """Rows that both traces have. Workspaces round up, all else to the nearest."""
    span = high.header.batch - low.header.batch
    part = batch - low.header.batch

    def straight(left: int, right: int) -> int:
        return left + ((right - left) * part + span // 2) // span

    def either(left: int | None, right: int | None) -> int | None:
        return (right if left is None else left) if left is None or right is None else straight(left, right)

    above = {(row.layer, row.pass_, row.algorithm): row for row in high.rows}
    rows = []
    for row in low.rows:
        other = above.get((row.layer, row.pass_, row.algorithm))
        if other is None:
            continue
        rows.append(
            TraceRow(
                row.layer,
                row.pass_,
                row.algorithm,
                straight(row.duration_ns, other.duration_ns),
                row.workspace_bytes - (row.workspace_bytes - other.workspace_bytes) * part // span,
                straight(row.copy_out_slowdown_ppm, other.copy_out_slowdown_ppm),
                straight(row.copy_in_slowdown_ppm, other.copy_in_slowdown_ppm),
                Provenance.MODELLED,
                INTERPOLATED,
                either(row.launch_ns, other.launch_ns),
                either(row.start_ns, other.start_ns),
                kind=row.kind,
            )
        )
    return rows
