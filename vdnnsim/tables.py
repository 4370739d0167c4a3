"""Records as CSV tables: one row each, a column for each field; every fault is told with file and line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from vdnnsim.errors import Fault, InvalidFile, shown
from vdnnsim.files import read_text

LARGEST = 2**62
MOST_FAULTS = 1000
Record = TypeVar("Record")


class Cell(NamedTuple):
    """One kind of cell: `read` raises `ValueError` or `KeyError` for a text that is not `expected`."""

    read: Callable[[str], Any]
    expected: str
    write: Callable[[Any], str] = str


def whole(text: str) -> int:
    """A whole number from 0 to `LARGEST`, as cells are read. Raises `ValueError`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or (value := int(text)) > LARGEST:
        raise ValueError
    return value


def _numbers(text: str) -> tuple[int, ...]:
    return tuple([whole(part) for part in text.split("x")]) if text else ()


def _name(text: str) -> str:
    if not text:
        raise ValueError
    return text


def if_any(value: int | None) -> str:
    """The number as a cell, empty for none."""
    return "" if value is None else str(value)


def choice(kind: type[StrEnum]) -> Cell:
    """A cell with one of these words."""
    words: Mapping[str, StrEnum] = {member.value: member for member in kind}
    return Cell(words.__getitem__, f"one of {', '.join(words)}")


TEXT = Cell(str, "text")
NAME = Cell(_name, "a name")
WHOLE = Cell(whole, f"a whole number from 0 to {LARGEST}, without unit")
SOME_WHOLE = Cell(lambda text: whole(text) if text else None, "nothing, or a whole number", if_any)
NUMBERS = Cell(_numbers, "whole numbers with x between them, such as 16x1024", lambda value: "x".join(map(str, value)))
FLAG = Cell({"yes": True, "no": False}.__getitem__, "yes or no", lambda value: "yes" if value else "no")

Table = Mapping[str, Cell]
"""The columns of a table by their names, in the order of the record's fields."""


def read_table(path: Path, table: Table, make: Callable[..., Record]) -> tuple[list[Record], list[int]]:
    """The records of a table and their lines. Raises `InvalidFile`."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    file = str(path)
    records: list[Record] = []
    lines: list[int] = []
    faults: list[Fault] = []
    reads = [cell.read for cell in table.values()]
    try:
        columns = next(reader, [])
        if columns != list(table):
            raise InvalidFile([Fault(file, 1, "columns", shown(",".join(columns), 120), ",".join(table))])
        for cells in reader:
            try:
                records.append(make(*[read(cell) for read, cell in zip(reads, cells, strict=True)]))
                lines.append(reader.line_num)
            except (ValueError, KeyError):
                faults += _row_faults(file, reader.line_num, cells, table)
                if len(faults) >= MOST_FAULTS:
                    break
    except csv.Error as error:
        faults.append(Fault(file, reader.line_num, "CSV", str(error), "well-formed CSV"))
    if faults:
        raise InvalidFile(faults)
    return records, lines


def _row_faults(file: str, line: int, cells: Sequence[str], table: Table) -> list[Fault]:
    if len(cells) != len(table):
        return [Fault(file, line, "row", f"{len(cells)} cells", f"{len(table)}, one for each column")]
    faults = []
    for text, (name, cell) in zip(cells, table.items(), strict=True):
        try:
            cell.read(text)
        except (ValueError, KeyError):
            faults.append(Fault(file, line, name, shown(text), cell.expected))
    return faults


def table_text(table: Table, records: Iterable[Sequence[Any]]) -> str:
    """The records as text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    writes = [cell.write for cell in table.values()]
    writer.writerows([write(value) for write, value in zip(writes, record, strict=True)] for record in records)
    return out.getvalue()
