"""Traces: measured, published or modelled timings of every kernel of a network."""

from vdnnsim.trace.files import check_gpu, check_trace, read_trace, write_trace
from vdnnsim.trace.header import DEFAULT_MATH, MATH_MODES, check_header_writable, read_header
from vdnnsim.trace.interpolation import INTERPOLATED, interpolate_trace, leave_one_out_error_ppm
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
from vdnnsim.trace.scaling import scaled_ns, scaled_trace, with_launches
from vdnnsim.trace.shelf import Shelved, TraceShelf
from vdnnsim.trace.table import (
    CARRIED,
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
    "CARRIED",
    "DEFAULT_ALGORITHM",
    "DEFAULT_MATH",
    "INTERPOLATED",
    "MATH_MODES",
    "PASSES",
    "TRACE_FOLDER",
    "Provenance",
    "RowSpread",
    "Shelved",
    "Trace",
    "TraceHeader",
    "TraceRow",
    "TraceShelf",
    "check_folders",
    "check_gpu",
    "check_header_writable",
    "check_trace",
    "find_trace",
    "interpolate_trace",
    "leave_one_out_error_ppm",
    "list_traces",
    "missing_trace",
    "no_traces",
    "oddities",
    "read_header",
    "read_trace",
    "required_passes",
    "scaled_ns",
    "scaled_trace",
    "trace_path",
    "weakest",
    "with_launches",
    "write_trace",
]
