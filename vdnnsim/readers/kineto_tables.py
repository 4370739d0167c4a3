"""A profiler's trace that says nothing of memory: what ran, and by which operator, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vdnnsim.profiler.operators import Operators
from vdnnsim.profiler.order import happenings, host_kernels
from vdnnsim.profiler.recording import STEP, Does, Recording, Work
from vdnnsim.readers.kineto_modules import with_modules
from vdnnsim.readers.tables_record import Rows, Tables
from vdnnsim.units import format_bytes, format_ms

_COPY = "gpu_memcpy"


class KernelRow(NamedTuple):
    """A kernel, copy or fill in the order of launches, by its operator and module; on a CPU operators are kernels."""

    name: str
    operator: str
    module: str
    phase: str
    stream: int
    begin_ns: int
    end_ns: int


class CopyRow(NamedTuple):
    """A copy of the GPU's."""

    name: str
    stream: int
    begin_ns: int
    end_ns: int
    size_bytes: int


def tables_of(recording: Recording, work: Sequence[Work], on_gpu: bool, lacks: Sequence[str]) -> tuple[Tables, str]:
    """Tables of the range that is called the step, and what they say in a line."""
    recording = with_modules(recording)
    window = recording.window(STEP)
    ordered = happenings(recording, window, None if on_gpu else host_kernels(recording, window))
    launches = [one for one in ordered if one.does is Does.LAUNCH]
    operators = Operators(recording, launches)
    rows = []
    for one in launches:
        of = operators.found[operators.number(one.within)]
        if on_gpu:
            ran = recording.gpu_work[one.number]
            stream, begin_ns, end_ns = ran.stream, ran.begin_ns, ran.end_ns
        else:
            host = recording.ranges[one.number]
            stream, begin_ns, end_ns = 0, host.begin_ns, host.end_ns
        rows.append(KernelRow(one.name, of.name, of.module, str(of.phase), stream, begin_ns, end_ns))
    copies = [
        CopyRow(one.name, one.stream, one.begin_ns, one.end_ns, one.size_bytes)
        for one in sorted(work)
        if one.category == _COPY
    ]
    total_ns = sum(row.end_ns - row.begin_ns for row in rows)
    says = f"no blocks of memory, and so no step: {len(rows)} kernels, {format_ms(total_ns)} in all"
    if copies:
        says += f"; in the whole file {len(copies)} copies, {format_bytes(sum(copy.size_bytes for copy in copies))}"
    tables: dict[str, Rows] = {"kernels": (KernelRow._fields, rows), "copies": (CopyRow._fields, copies)}
    return Tables(tables, (says, *lacks)), says
