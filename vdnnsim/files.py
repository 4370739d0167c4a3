"""Files in and out: bounded reading, TOML with line numbers for every fault, writing whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vdnnsim.errors import Fault, InvalidFile, InvalidInput

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

LARGEST_TEXT_BYTES = 64 * 2**20
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[\w\"'.-]+)*\s*=")
_Place = tuple[str | int, ...]


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without the byte order mark that some editors and spreadsheets put first.

    Raises `InvalidFile` when it is missing, a folder, binary, or above 64 MiB; no more than that is ever read.
    """
    file = str(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as source:
            contents = source.read(LARGEST_TEXT_BYTES + 1) if size <= LARGEST_TEXT_BYTES else b""
        if max(size, len(contents)) > LARGEST_TEXT_BYTES:
            expected = f"at most {LARGEST_TEXT_BYTES} bytes"
            raise InvalidFile([Fault(file, None, "size", f"{max(size, len(contents))} bytes or more", expected)])
        text = contents.decode("utf-8-sig")
    except FileNotFoundError:
        raise InvalidFile([Fault(file, None, "file", "nothing by this name", "a file")]) from None
    except UnicodeDecodeError as error:
        found = f"a byte that is not UTF-8 at {error.start}"
        raise InvalidFile([Fault(file, None, "text", found, "a text file")]) from None
    except OSError as error:
        raise InvalidFile([Fault(file, None, "file", error.strerror or "an error", "a readable file")]) from None
    except ValueError:  # a NUL in it, or what is not text
        raise InvalidFile([Fault(repr(file), None, "file", "a name that no file can have", "a file")]) from None
    if "\0" in text:
        raise InvalidFile([Fault(file, None, "text", "a NUL byte", "a text file, not a binary one")])
    return text


def read_toml(path: Path, model: type[Model]) -> Model:
    """The checked contents of a TOML file. Raises `InvalidFile` with every fault and its line."""
    return parse_toml(read_text(path), str(path), model)


def parse_toml(text: str, file: str, model: type[Model]) -> Model:
    """As `read_toml`, from text already read; `file` is what the faults call it."""
    from pydantic import ValidationError  # slow to import, needed by nobody who only asks for help

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        fault = Fault(file, int(line[1]) if line else None, "TOML", str(error), "well-formed TOML")
        raise InvalidFile([fault]) from None
    except ValueError:  # Python reads no more than some thousand digits
        raise InvalidFile([Fault(file, None, "TOML", "a number of too many digits", "well-formed TOML")]) from None
    except RecursionError:
        raise InvalidFile([Fault(file, None, "TOML", "too deep a nesting", "well-formed TOML")]) from None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        lines = toml_lines(text)
        raise InvalidFile([_fault(file, lines, dict(item)) for item in error.errors()]) from None


def _fault(file: str, lines: Mapping[_Place, int], error: Mapping[str, Any]) -> Fault:
    place: _Place = tuple(error["loc"])
    found = "nothing" if error["type"] == "missing" else _shortened(error["input"])
    message = str(error["msg"]).removeprefix("Value error, ")
    expected = "this field" if error["type"] == "missing" else message[:1].lower() + message[1:]
    if error["type"] == "extra_forbidden":
        expected = "no field of this name"
    return Fault(file, line_of(lines, place), _dotted(place) or "file", found, expected)


def _shortened(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a very large number"
    return text if len(text) <= 60 else text[:57] + "..."


def _dotted(place: _Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def line_of(lines: Mapping[_Place, int], place: _Place) -> int | None:
    """The line of the longest known beginning of `place`, whose parts a checker may have added to."""
    places = [place, tuple(part for part in place if not (isinstance(part, str) and part.isupper()))]
    for candidate in places:
        while candidate:
            if candidate in lines:
                return lines[candidate]
            candidate = candidate[:-1]
    return None


def toml_lines(text: str) -> dict[_Place, int]:
    """The line of each table and key of well-formed TOML, by its place such as ("layer", 2, "kernel")."""
    lines: dict[_Place, int] = {}
    counts: dict[_Place, int] = {}
    table: _Place = ()
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.match(line):
            table = tuple(part.strip().strip("\"'") for part in header[2].split("."))
            if header[1] == "[[":
                index = counts.get(table, -1) + 1
                counts[table] = index
                table = (*table, index)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, key[1].strip("\"'")), number)
    return lines


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it fails.

    Raises `InvalidInput` where the folder cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}; choose a writable folder") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}; choose a writable folder") from None
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises `InvalidInput` where it cannot be written."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
