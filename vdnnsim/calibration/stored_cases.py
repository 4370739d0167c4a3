"""Cases as reports store them, as JSON: each field read as what the record says that it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from vdnnsim.errors import Fault, InvalidFile, printable, shown
from vdnnsim.files import read_text

Record = TypeVar("Record")


def read_cases(path: Path, record: type[Record], writer: str) -> tuple[Record, ...]:
    """The cases of a file. Raises `InvalidFile` for one that the command `writer` did not write, and for numbers that
    are none."""
    from pydantic import TypeAdapter  # slow to import

    try:
        document = json.loads(read_text(path), parse_constant=_no_number)
        if "streams" in document:
            expected = "one of GPUs by themselves; table.md and together.png beside it show this one"
            raise InvalidFile([Fault(str(path), None, "cases", "a report of several GPUs at once", expected)])
        checked = TypeAdapter(record)
        return tuple(checked.validate_python(case) for case in document["cases"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        expected = f"a file that '{writer}' wrote"
        raise InvalidFile([Fault(str(path), None, "cases", _told(error), expected)]) from None


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant}, which is no number")


def _told(error: Exception) -> str:
    """The first fault, in one line."""
    faults: list[Any] = getattr(error, "errors", list)()
    if not faults:
        return printable(f"no {error}" if isinstance(error, KeyError) else str(error))
    first = faults[0]
    place = ".".join(map(str, first["loc"]))
    said = "nothing" if first["type"] == "missing" else shown(str(first["input"]))
    return printable(f"{said} for {place}" if place else said)
