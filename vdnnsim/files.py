"""Files in and out: bounded reading, TOML with line numbers for every fault, writing whole or not at all."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vdnnsim.errors import CannotWrite, Fault, InvalidFile
from vdnnsim.file_kinds import kind_of, kind_of_model

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    Model = TypeVar("Model", bound=BaseModel)

LARGEST_TEXT_BYTES = 64 * 2**20
LONGEST_NAME = 200
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*[\w\"'.-]+)*\s*=")
_EXPECTED = re.compile(r"^(Value error, |Input should be )")
_TAG = re.compile(r"'([A-Z_]+)'")
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
            found = f"{size} bytes" if size > LARGEST_TEXT_BYTES else "an endless file"
            raise InvalidFile([Fault(file, None, "size", found, f"at most {LARGEST_TEXT_BYTES} bytes")])
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
    return check_document(toml_document(text, file), text, file, model)


def toml_document(text: str, file: str) -> dict[str, Any]:
    """What TOML says, unchecked. Raises `InvalidFile` for what is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        fault = Fault(file, int(line[1]) if line else None, "TOML", str(error), "well-formed TOML")
        raise InvalidFile([fault]) from None
    except ValueError:  # Python reads no more than some thousand digits
        raise InvalidFile([Fault(file, None, "TOML", "a number of too many digits", "well-formed TOML")]) from None
    except RecursionError:
        raise InvalidFile([Fault(file, None, "TOML", "too deep a nesting", "well-formed TOML")]) from None


def check_document(document: Mapping[str, Any], text: str, file: str, model: type[Model]) -> Model:
    """The checked contents of a document whose lines are those of `text`. Raises `InvalidFile` with every fault."""
    from pydantic import ValidationError  # slow to import, needed by nobody who only asks for help

    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid_file(error, document, toml_lines(text), file, model) from None


def invalid_file(
    error: ValidationError, document: object, lines: Mapping[_Place, int], file: str, model: type[Model]
) -> InvalidFile:
    """What pydantic found wrong with a document, in our words; of another kind of file, or one with nothing in it, that
    it is one and no more."""
    expected = kind_of_model(model)
    if isinstance(document, Mapping):
        other = kind_of(document.keys()) if document else "nothing in it"
    else:
        other = "an array" if isinstance(document, list) else None
    if expected and other and other != expected:
        return InvalidFile([Fault(file, None, "file", other, expected)])
    return InvalidFile([_fault(file, lines, dict(item)) for item in error.errors()])


def _fault(file: str, lines: Mapping[_Place, int], error: Mapping[str, Any]) -> Fault:
    """pydantic's error in our words."""
    place = _without_tags(tuple(error["loc"]))
    found, expected = _shortened(error["input"]), _EXPECTED.sub("", str(error["msg"]))
    match error["type"]:
        case "missing":
            found, expected = "nothing", "this field"
        case "extra_forbidden":
            expected = "no field of this name"
        case "model_type" | "model_attributes_type" | "dict_type":
            expected = "a table"
        case "json_invalid":
            found, expected = f"no JSON ({expected.removeprefix('Invalid JSON: ')})", "well-formed JSON"
        case "too_short":
            expected = f"at least {error['ctx']['min_length']}"
        case "too_long":
            expected = f"at most {error['ctx']['max_length']}"
        case "string_pattern_mismatch":
            expected = f"a text that matches {error['ctx']['pattern']}"
        case "union_tag_not_found":
            place = (*place, str(error["ctx"]["discriminator"]).strip("'"))
            found, expected = "nothing", "this field"
        case "union_tag_invalid":
            place = (*place, str(error["ctx"]["discriminator"]).strip("'"))
            found = _shortened(error["ctx"]["tag"])
            expected = f"one of {', '.join(_TAG.findall(error['ctx']['expected_tags']))}"
    return Fault(file, line_of(lines, place), _dotted(place) or "file", found, expected[:1].lower() + expected[1:])


def _without_tags(place: _Place) -> _Place:
    """A place in the file: pydantic adds which kind of entry it took an entry of a list for."""
    return tuple(
        part
        for index, part in enumerate(place)
        if not (index and isinstance(part, str) and part.isupper() and isinstance(place[index - 1], int))
    )


def _shortened(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints, tables within tables
        return f"{type(value).__name__} beyond all measure"
    return text if len(text) <= 60 else text[:57] + "..."


def _dotted(place: _Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def line_of(lines: Mapping[_Place, int], place: _Place) -> int | None:
    """The line of the longest beginning of `place` that is known."""
    while place:
        if place in lines:
            return lines[place]
        place = place[:-1]
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

    A link is followed. Raises `CannotWrite` for a device or a pipe, which must not be replaced, and where the folder
    cannot be written.
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise CannotWrite(str(path), "it is no regular file", "choose another name, or - for stdout")
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise CannotWrite(str(path), error.strerror or "an error", "choose a writable folder") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise CannotWrite(str(path), error.strerror or "an error", "choose a writable folder") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends well, and vanishes when it fails. Raises
    `CannotWrite` where there is no room, or no permission."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            new.mkdir()
            yield new
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
    except OSError as error:
        raise CannotWrite(str(folder), error.strerror or "an error", "choose a writable folder") from None


def check_folder_writable(folder: Path, is_ours: Callable[[Path], bool], what: str) -> None:
    """Before long work: raise `CannotWrite` for a folder that could not be written in the end, or holds something else
    than `what`, as `is_ours` tells."""
    if folder.exists() and not is_ours(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise CannotWrite(str(folder), f"it is there and no {what}", "choose another name")
    if not folder.parent.is_dir():
        raise CannotWrite(str(folder), f"{folder.parent} is no folder", "make it first")
    try:
        with tempfile.TemporaryFile(dir=folder.parent):
            pass
    except OSError as error:
        raise CannotWrite(str(folder), error.strerror or "an error", "choose a writable folder") from None


def check_writable(paths: Iterable[Path]) -> None:
    """Before long work: raise `CannotWrite` for a file that could not be written in the end, or is named twice."""
    known = [path.resolve() for path in paths]
    for path in known:
        if known.count(path) > 1:
            raise CannotWrite(str(path), "named twice", "give each output a file of its own")
        if len(path.name) > LONGEST_NAME:
            raise CannotWrite(str(path), f"its name is longer than {LONGEST_NAME} characters", "choose a shorter one")
        if not path.parent.is_dir():
            raise CannotWrite(str(path), f"{path.parent} is no folder", "make it first")
        if path.exists() and not path.is_file():
            raise CannotWrite(str(path), "it is no regular file", "choose another name")
        try:
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise CannotWrite(str(path), error.strerror or "an error", "choose a writable folder") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises `CannotWrite`."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
