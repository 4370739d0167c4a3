"""Kernel times as the artefact of G10 ships them: lines `number time ms`, one for each kernel of an iteration.

Read in its `src/main.cc`, `loadKernelTimes` (platformxlab/G10 at de2c8c6): numbers count from 0 without a gap; a kernel
takes its milliseconds times the clock's hertz, over 1000, in double precision, rounded down to a cycle, and one at
least. G10's ideal is their sum: all kernels one after the other, with all tensors there. Its clock has 1.2 GHz
(`src/configs/example.config`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from vdnnsim.errors import Fault, InvalidFile, shown
from vdnnsim.readers.kinds import Imported, Reader, text_of
from vdnnsim.readers.tables_record import Tables, check_tables_writable
from vdnnsim.units import format_ms

_LINE = re.compile(r"(\d{1,9})\s+(\d{1,9}(?:\.\d{1,12})?)\s+ms")
_CLOCK_HZ = 1.2e9


class G10Kernel(NamedTuple):
    """One kernel: its time, in whole nanoseconds, and the cycles that G10 makes of it."""

    number: int
    duration_ns: int
    cycles: int


def _recognises(head: bytes) -> bool:
    lines = head.lstrip().splitlines()
    return bool(lines) and bool(_LINE.fullmatch(lines[0].decode("ascii", "replace").strip()))


def read_g10_kernels(path: Path) -> list[G10Kernel]:
    """The kernels in order. Raises `InvalidFile` with the line of the first fault."""
    found: list[G10Kernel] = []
    for line, text in enumerate(text_of(path).splitlines(), start=1):
        if not text.strip():
            continue
        expected = f"kernel {len(found)}: '{len(found):04} 0.197632 ms'"
        match = _LINE.fullmatch(text.strip())
        if match is None or int(match[1]) != len(found):
            raise InvalidFile([Fault(str(path), line, "kernel", shown(text), expected)])
        cycles = int(float(match[2]) * _CLOCK_HZ / 1000.0)
        if not cycles:
            raise InvalidFile([Fault(str(path), line, "time", shown(match[2]), "milliseconds, a cycle or more")])
        found.append(G10Kernel(len(found), round(Decimal(match[2]) * 1_000_000), cycles))
    if not found:
        raise InvalidFile([Fault(str(path), None, "kernels", "none", "lines such as '0000 0.197632 ms'")])
    return found


_LACKS = (
    "which model, batch and GPU it is of, and whether it is whole",
    "tensors, and which kernel reads them: nothing can be moved, so that it is no trace and no step",
)


def _read(path: Path) -> Imported:
    kernels = read_g10_kernels(path)
    total_ns, cycles = (sum(column) for column in list(zip(*kernels, strict=True))[1:])
    says = (
        f"{len(kernels)} kernels, {format_ms(total_ns)} in all",
        f"G10's ideal: {cycles} cycles at {_CLOCK_HZ / 1e9:g} GHz",
    )
    tables = Tables({"kernels": (G10Kernel._fields, kernels)}, (*says, *_LACKS))
    return Imported(tables, says, _LACKS, "open {folder}/kernels.csv")


READER = Reader("g10-kernels", "kernel times of G10's artefact", _recognises, _read, check_tables_writable)
