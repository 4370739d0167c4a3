"""A trace on disk: a CSV table for people and diffs, and beside it a TOML header of the same name.

The table has one row per layer, pass and algorithm; the header says what was timed and explains every source. Reading
checks both against the network they claim to be of, and reports every fault with its line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from vdnnsim.errors import Fault, InvalidFile, InvalidInput, shown
from vdnnsim.files import read_text, write_text
from vdnnsim.network import Network
from vdnnsim.trace.header import check_header_writable, header_path, header_text, read_header_file
from vdnnsim.trace.matching import network_faults
from vdnnsim.trace.table import PASSES, Provenance, RowSpread, Trace, TraceRow
from vdnnsim.units import PPM

COLUMNS = (
    "layer",
    "pass",
    "algorithm",
    "duration_ns",
    "workspace_bytes",
    "copy_out_slowdown",
    "copy_in_slowdown",
    "provenance",
    "source",
)
HOST_COLUMNS = ("launch_ns", "start_ns")
"""Columns that measured traces have besides; an empty cell is a number that was not measured."""
SPREAD_COLUMNS = ("duration_spread", "copy_out_spread", "copy_in_spread", "launch_spread")
"""How widely the measurements of a row spread, where it was noted: see `RowSpread`; ratios."""
DISTURBED_COLUMN = "disturbed"
"""What a row's numbers never ran undisturbed by; empty where nothing did."""
OPTIONAL_COLUMNS = (*HOST_COLUMNS, *SPREAD_COLUMNS, DISTURBED_COLUMN)
LONGEST_NS = 10**15
LARGEST_WORKSPACE_BYTES = 2**48
_SLOWDOWN_RANGE = (0.1, 1000.0)
_INTEGER = re.compile(r"[0-9]{1,18}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?", re.ASCII)
_MOST_FAULTS = 1000


def read_trace(table: Path, network: Network | None = None) -> Trace:
    """The trace whose table is at `table`; with a network, checked to be of it (`network_faults`).

    Raises `InvalidFile` with every fault: file, line, field, what stands there, what was expected.
    """
    file = str(table)
    text = read_text(table)
    header_file = read_header_file(table)
    header, promised = header_file.header(), header_file.identity.rows
    rows, lines, faults = _parse_table(text, file, header.sources)
    if not faults and promised not in (None, len(rows)):
        expected = f"{promised}, which {header_path(table).name} promises under [identity]"
        faults = [Fault(file, None, "rows", str(len(rows)), expected)]
    if not faults and network is not None:
        faults = network_faults(file, header, rows, lines, network)[:_MOST_FAULTS]
    if faults:
        raise InvalidFile(faults)
    return Trace(header, rows)


def check_trace(trace: Trace, network: Network) -> None:
    """As `read_trace` with a network, for a trace that did not come from a file. Raises `InvalidFile`."""
    lines = [None] * len(trace.rows)
    if faults := network_faults(f"trace of {trace.header.title}", trace.header, trace.rows, lines, network):
        raise InvalidFile(faults[:_MOST_FAULTS])


def check_gpu(trace: Trace, gpu: str, math: str) -> None:
    """Raise `InvalidInput` for a trace of another GPU or other arithmetic."""
    if trace.header.gpu != gpu:
        raise InvalidInput(
            f"trace {trace.header.title}: found GPU '{trace.header.gpu}', expected '{gpu}'; "
            "if it is meant to stand for this GPU, say so in its header or in the profile's name"
        )
    if trace.header.math != math:
        raise InvalidInput(f"trace of {trace.header.title}: found math {trace.header.math}, expected {math}")


def write_trace(trace: Trace, table: Path) -> None:
    """Write the table at `table` and the header beside it, each whole or not at all.

    Raises `InvalidInput` where they cannot be written, or where a file that is no header has the header's name, such as
    the network's own.
    """
    check_header_writable(table)
    write_text(table, table_text(trace))
    write_text(header_path(table), header_text(trace))


def table_text(trace: Trace) -> str:
    """The CSV table as text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    with_spread = any(row.spread is not None or row.disturbed for row in trace.rows)
    with_host = with_spread or any(row.launch_ns is not None or row.start_ns is not None for row in trace.rows)
    spread_columns = (*SPREAD_COLUMNS, DISTURBED_COLUMN) if with_spread else ()
    writer.writerow((*COLUMNS, *(HOST_COLUMNS if with_host else ()), *spread_columns))
    for row in trace.rows:
        writer.writerow(
            [
                *row[:5],
                _decimal(row.copy_out_slowdown_ppm),
                _decimal(row.copy_in_slowdown_ppm),
                row.provenance.value,
                row.source,
                *([row.launch_ns, row.start_ns] if with_host else []),
                *([*_spread_cells(row.spread), row.disturbed] if with_spread else []),
            ]
        )
    return out.getvalue()


def _spread_cells(spread: RowSpread | None) -> list[str]:
    return [_decimal(ppm) for ppm in spread] if spread else [""] * len(SPREAD_COLUMNS)


def _decimal(ppm: int) -> str:
    whole, rest = divmod(ppm, PPM)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".")


def _parse_table(text: str, file: str, sources: Mapping[str, str]) -> tuple[list[TraceRow], list[int], list[Fault]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[TraceRow] = []
    lines: list[int] = []
    faults: list[Fault] = []
    first_lines: dict[tuple[str, str, str], int] = {}
    try:
        columns = next(reader, [])
        if faults := _column_faults(file, columns):
            return [], [], faults
        order = [columns.index(name) for name in (*COLUMNS, *OPTIONAL_COLUMNS) if name in columns]
        present = [name for name in OPTIONAL_COLUMNS if name in columns]
        for cells in reader:
            line = reader.line_num
            if len(faults) >= _MOST_FAULTS:
                break
            if len(cells) != len(columns):
                faults.append(Fault(file, line, "row", f"{len(cells)} cells", f"{len(columns)}, one for each column"))
                continue
            ordered = [cells[index] for index in order]
            others = dict(zip(present, ordered[len(COLUMNS) :], strict=True))
            row = _parse_row(file, line, ordered[: len(COLUMNS)], others, sources, faults)
            if row is None:
                continue
            key = (row.layer, row.pass_, row.algorithm)
            first = first_lines.setdefault(key, line)
            if first != line:
                faults.append(
                    Fault(file, line, "row", f"{shown(' '.join(key))} again, as in line {first}", "one row of each")
                )
            rows.append(row)
            lines.append(line)
    except csv.Error as error:
        faults.append(Fault(file, reader.line_num, "CSV", str(error), "well-formed CSV"))
    if not rows and not faults:
        faults.append(Fault(file, None, "table", "no rows", "a row for each pass of each layer"))
    return rows, lines, faults


def _column_faults(file: str, columns: list[str]) -> list[Fault]:
    known = (*COLUMNS, *OPTIONAL_COLUMNS)
    expected = f"only {', '.join(COLUMNS)}, and for measured traces {', '.join(OPTIONAL_COLUMNS)}"
    unknown = islice((name for name in columns if name not in known), _MOST_FAULTS)
    faults = [Fault(file, 1, f"column {shown(name)}", "a column of this name", expected) for name in unknown]
    faults += [Fault(file, 1, f"column '{name}'", "no such column", "it") for name in COLUMNS if name not in columns]
    if not faults and len(set(columns)) < len(columns):
        faults.append(Fault(file, 1, "columns", "a column twice", "each column once"))
    return faults


def _parse_row(
    file: str, line: int, cells: list[str], others: Mapping[str, str], sources: Mapping[str, str], faults: list[Fault]
) -> TraceRow | None:
    layer, pass_, algorithm, duration, workspace, slow_out, slow_in, provenance, source = cells
    before = len(faults)

    def fault(field: str, found: str, expected: str) -> None:
        faults.append(Fault(file, line, field, shown(found), expected))

    for field, name in (("layer", layer), ("algorithm", algorithm)):
        if not name:
            fault(field, name, "a name")
    if pass_ not in PASSES:
        fault("pass", pass_, f"one of {', '.join(PASSES)}")
    for field, digits, largest in (
        ("duration_ns", duration, LONGEST_NS),
        ("workspace_bytes", workspace, LARGEST_WORKSPACE_BYTES),
    ):
        if not _INTEGER.fullmatch(digits) or int(digits) > largest:
            fault(field, digits, f"a whole number from 0 to {largest}, without unit")
    host = {name: others.get(name, "") for name in HOST_COLUMNS}
    for field, digits in host.items():
        if digits and (not _INTEGER.fullmatch(digits) or int(digits) > LONGEST_NS):
            fault(field, digits, f"nothing, or a whole number from 0 to {LONGEST_NS}, without unit")
    low, high = _SLOWDOWN_RANGE
    for field, ratio in (("copy_out_slowdown", slow_out), ("copy_in_slowdown", slow_in)):
        if not _DECIMAL.fullmatch(ratio) or not low <= float(ratio) <= high:
            fault(field, ratio, f"a ratio from {low:g} to {high:g}; 1 means not slowed")
    spreads = [others.get(name, "") for name in SPREAD_COLUMNS]
    for field, ratio in zip(SPREAD_COLUMNS, spreads, strict=True):
        if any(spreads) and not (_DECIMAL.fullmatch(ratio) and float(ratio) <= high):
            fault(field, ratio, f"a ratio from 0 to {high:g}, or all four columns empty")
    if provenance not in Provenance.__members__.values():
        fault("provenance", provenance, f"one of {', '.join(Provenance)}")
    if source not in sources:
        fault("source", source, "a key of [sources] in the header")
    if len(faults) > before:
        return None
    launch_ns, start_ns = (int(digits) if digits else None for digits in host.values())
    return TraceRow(
        layer,
        pass_,
        algorithm,
        int(duration),
        int(workspace),
        round(float(slow_out) * PPM),
        round(float(slow_in) * PPM),
        Provenance(provenance),
        source,
        launch_ns,
        start_ns,
        RowSpread(*(round(float(ratio) * PPM) for ratio in spreads)) if any(spreads) else None,
        others.get(DISTURBED_COLUMN, ""),
    )
