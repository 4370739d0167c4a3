"""A logged program on disk: a folder with a TOML header and two tables, rows counted from 0 behind the columns.

| file | a row |
|---|---|
| `header.toml` | its name, where it was read from, the rows of each table |
| `operators.csv` | an operator: the tensors it reads, the bytes of each that it makes, of which of those read it is a view, from 1 (0: of none) |
| `deeds.csv` | what the program does, in order |
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.files import check_folder_writable, read_toml, whole_folder
from vdnnsim.replay.log import Does, LoggedDeed, LoggedOperator, LoggedProgram, wrongs_of
from vdnnsim.tables import MOST_FAULTS, NAME, NUMBERS, WHOLE, Cell, Table, choice, read_table, table_text

HEADER = "header.toml"
_Count = Annotated[int, Field(ge=0, strict=True)]
_ALIASES = Cell(
    lambda text: tuple(number - 1 for number in NUMBERS.read(text)),
    NUMBERS.expected,
    lambda aliases: NUMBERS.write([alias + 1 for alias in aliases]),
)


class _Rows(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    operators: _Count
    deeds: _Count


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    schema_version: Literal[1] = Field(alias="schema")
    holds: Literal["logged program"]
    name: Annotated[str, Field(min_length=1)]
    source: str
    rows: _Rows


class _Kind(NamedTuple):
    table: Table
    make: Callable[..., Any]


_TABLES: Mapping[str, _Kind] = {
    "operators": _Kind(
        {"name": NAME, "duration_ns": WHOLE, "reads": NUMBERS, "sizes_bytes": NUMBERS, "aliases": _ALIASES},
        LoggedOperator,
    ),
    "deeds": _Kind({"does": choice(Does), "number": WHOLE}, LoggedDeed),
}


def is_log(folder: Path) -> bool:
    """Whether there is a logged program in this folder, right or wrong."""
    header = folder / HEADER
    return header.is_file() and (folder / "deeds.csv").is_file() and not (folder / "kernels.csv").is_file()


def read_log(folder: str | Path) -> LoggedProgram:
    """The logged program in this folder. Raises `InvalidFile` with every fault."""
    folder = Path(folder)
    if not (folder / HEADER).is_file():
        found = "no such file" if folder.is_dir() else "no such folder"
        expected = "that of a logged program, as 'vdnnsim import' writes it"
        raise InvalidFile([Fault(str(folder / HEADER), None, "header", found, expected)])
    header = read_toml(folder / HEADER, _Header)
    records: dict[str, list[Any]] = {}
    lines: dict[str, list[int]] = {}
    faults: list[Fault] = []
    for name, (table, make) in _TABLES.items():
        file = folder / f"{name}.csv"
        try:
            records[name], lines[name] = read_table(file, table, make)
        except InvalidFile as error:
            faults += error.faults
            continue
        if (rows := len(records[name])) != (promised := getattr(header.rows, name)):
            expected = f"{promised}, which {HEADER} promises under [rows]"
            faults.append(Fault(str(file), None, "rows", str(rows), expected))
    if faults:
        raise InvalidFile(faults[:MOST_FAULTS])
    log = LoggedProgram(header.name, header.source, tuple(records["operators"]), tuple(records["deeds"]))
    for wrong in wrongs_of(log):
        known = lines[wrong.table]
        at = known[wrong.row] if wrong.row < len(known) else None
        faults.append(Fault(str(folder / f"{wrong.table}.csv"), at, wrong.field, wrong.found, wrong.expected))
    if faults:
        raise InvalidFile(faults[:MOST_FAULTS])
    return log


def write_log(log: LoggedProgram, folder: Path) -> None:
    """Write the program as this folder, whole or not at all; one that is there is replaced. Raises `CannotWrite`."""
    import tomli_w

    check_log_writable(folder)
    header = {
        "schema": 1,
        "holds": "logged program",
        "name": log.name,
        "source": log.source,
        "rows": {name: len(getattr(log, name)) for name in _TABLES},
    }
    texts = {f"{name}.csv": table_text(table, getattr(log, name)) for name, (table, _) in _TABLES.items()}
    with whole_folder(folder) as new:
        for name, text in (texts | {HEADER: tomli_w.dumps(header)}).items():
            (new / name).write_text(text, encoding="utf-8", newline="\n")


def check_log_writable(folder: Path) -> None:
    """Before long work: raise `CannotWrite` where a logged program could not be written in the end."""
    check_folder_writable(folder, is_log, "logged program")
