"""Traces: measured, published or modelled timings of every kernel of a network."""

from vdnnsim.trace.files import check_trace, read_trace, write_trace
from vdnnsim.trace.header import MATH_MODES, check_header_writable, read_header
from vdnnsim.trace.library import (
    TRACE_FOLDER,
    check_folders,
    find_trace,
    list_traces,
    missing_trace,
    no_traces,
    trace_path,
)
from vdnnsim.trace.matching import required_passes
from vdnnsim.trace.oddities import oddities
from vdnnsim.trace.table import (
    DEFAULT_ALGORITHM,
    PASSES,
    Provenance,
    RowSpread,
    Trace,
    TraceHeader,
    TraceRow,
    weakest,
)

__all__ = [
    "DEFAULT_ALGORITHM",
    "MATH_MODES",
    "PASSES",
    "TRACE_FOLDER",
    "Provenance",
    "RowSpread",
    "Trace",
    "TraceHeader",
    "TraceRow",
    "check_folders",
    "check_header_writable",
    "check_trace",
    "find_trace",
    "list_traces",
    "missing_trace",
    "no_traces",
    "oddities",
    "read_header",
    "read_trace",
    "required_passes",
    "trace_path",
    "weakest",
    "write_trace",
]
