"""Traces of the same GPU with faster or slower kernels, or a faster or slower host; the link stays."""

from __future__ import annotations

from vdnnsim.trace.table import Provenance, Trace, TraceRow
from vdnnsim.units import PPM, scaled_by


def scaled_ns(duration_ns: int, scale_ppm: int) -> int:
    """A duration on a GPU `scale_ppm` millionths as fast, to the nearest nanosecond, halves up."""
    return (duration_ns * PPM + scale_ppm // 2) // scale_ppm


def scaled_trace(trace: Trace, scale_ppm: int) -> Trace:
    """The trace with every duration scaled, which is modelled, and spreads by nothing that was measured."""
    if scale_ppm == PPM:
        return trace

    def scaled(row: TraceRow) -> TraceRow:
        duration_ns = scaled_ns(row.duration_ns, scale_ppm)
        return row._replace(duration_ns=duration_ns, provenance=Provenance.MODELLED, spread=None)

    return Trace(trace.header, map(scaled, trace.rows))


def with_launches(trace: Trace, scale_ppm: int) -> Trace:
    """The trace with launches that take the host `scale_ppm` millionths of their time."""
    if scale_ppm == PPM:
        return trace
    rows = (
        row if row.launch_ns is None else row.launched_in(scaled_by(row.launch_ns, scale_ppm)) for row in trace.rows
    )
    return Trace(trace.header, rows)
