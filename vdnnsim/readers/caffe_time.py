"""Logs of `caffe time`: means of each layer's forward and backward, as a trace of ours.

Lines of Caffe's `tools/caffe.cpp`: `... caffe.cpp:276]      conv1<tab>forward: 12.3 ms.`, and the same with
`backward:`. Before them the log has the network as prototxt, with `name`, and the shapes of blobs, the batch first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.readers.kinds import Imported, Reader, text_of
from vdnnsim.readers.tables_record import check_tables_writable
from vdnnsim.readers.trace_record import TraceFolder
from vdnnsim.trace import Provenance, Trace, TraceHeader, TraceRow
from vdnnsim.units import format_ms

_TIME = re.compile(r"\]\s+(\S+)\s+(forward|backward):\s+([0-9.eE+-]+) ms\.")
_NAME = re.compile(r'^name:\s*"([^"]+)"', re.MULTILINE)
_SHAPE = re.compile(r"Top shape: (\d+) ")
_TYPED = re.compile(r'name:\s*"([^"]+)"\s+type:\s*"([^"]+)"')
_SUM = re.compile(r"Average Forward-Backward:\s+([0-9.]+) ms")
_CONVOLUTION = ("Convolution", "CONVOLUTION")
_LONGEST_MS = 1e9
_SOURCE, _SPLIT = "caffe-time", "split"


@dataclass
class CaffeLog:
    """What a log says: by layer and pass nanoseconds, in its order."""

    name: str
    batch: int
    times_ns: dict[tuple[str, str], int]
    kinds: Mapping[str, str]


def _recognises(head: bytes) -> bool:
    return b"caffe.cpp:" in head or b"net.cpp:" in head


def read_caffe_log(path: Path) -> CaffeLog:
    """Raises `InvalidFile` for a log without times of layers, or one that is cut short."""
    text = text_of(path)
    found: dict[tuple[str, str], int] = {}
    for line, words in enumerate(text.splitlines(), start=1):
        if match := _TIME.search(words):
            found[match[1], match[2]] = _ns(match[3], str(path), line)
    if not found:
        fault = Fault(str(path), None, "log", "no time of a layer", "lines 'LAYER forward: 1.23 ms.' of 'caffe time'")
        raise InvalidFile([fault])
    if not _SUM.search(text):
        raise InvalidFile(
            [Fault(str(path), None, "log", "its end missing", "'Average Forward-Backward': it is cut short")]
        )
    name, shape = _NAME.search(text), _SHAPE.search(text)
    return CaffeLog(
        name[1] if name else path.stem,
        max(1, int(shape[1])) if shape and len(shape[1]) < 7 else 1,
        found,
        dict(_TYPED.findall(text)),
    )


def _ns(text: str, file: str, line: int) -> int:
    try:
        time_ms = float(text)
    except ValueError:
        time_ms = -1.0
    if not 0 <= time_ms < _LONGEST_MS:
        raise InvalidFile([Fault(file, line, "time", text, "milliseconds")])
    return round(time_ms * 1e6)


def trace_of(log: CaffeLog) -> Trace:
    """Rows by layer and pass. Of a CONV's backward, which computes two gradients, half is each one's."""
    rows = []
    for (layer, pass_), time_ns in log.times_ns.items():
        if pass_ == "backward" and _is_convolution(log, layer):
            for own, part_ns in (("backward_filter", time_ns - time_ns // 2), ("backward_data", time_ns // 2)):
                rows.append(
                    TraceRow(layer, own, "IMPLICIT_GEMM", part_ns, 0, provenance=Provenance.MODELLED, source=_SPLIT)
                )
        else:
            algorithm = "IMPLICIT_GEMM" if _is_convolution(log, layer) else "default"
            rows.append(TraceRow(layer, pass_, algorithm, time_ns, 0, provenance=Provenance.MEASURED, source=_SOURCE))
    sources = {
        _SOURCE: "measured: 'caffe time', the mean of its iterations.",
        _SPLIT: "modelled: half of the backward that 'caffe time' measured.",
    }
    return Trace(TraceHeader("gpu-of-the-log", log.name, log.batch, "fp32", "vdnnsim import", sources), rows)


def _is_convolution(log: CaffeLog, layer: str) -> bool:
    kind = log.kinds.get(layer)
    return kind in _CONVOLUTION if kind else layer.lower().startswith("conv")


def _read(path: Path) -> Imported:
    log = read_caffe_log(path)
    total_ns = sum(log.times_ns.values())
    says = (f"{log.name}, batch {log.batch}: {len(log.times_ns)} passes of layers, {format_ms(total_ns)} in all",)
    lacks = (
        "which GPU it was: --gpu names its profile",
        "which algorithms ran, and their workspaces: one row each, of no workspace",
        "the two gradients of a CONV apart: each has half of its backward",
        "layers' shapes: the network has to be one with layers of these names, 'vdnnsim check' compares them",
    )
    then = f"vdnnsim compare NETWORK --batch {log.batch} --gpu PROFILE --trace {{folder}}/trace.csv"
    return Imported(TraceFolder(trace_of(log)), says, lacks, then)


READER = Reader("caffe-time", "a log of 'caffe time'", _recognises, _read, check_tables_writable)
