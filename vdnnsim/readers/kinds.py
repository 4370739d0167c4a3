"""What a reader is: one module for each kind of foreign file, told by how the file begins.

A module has a `READER`; `vdnnsim/readers/__init__.py` lists them. What is read becomes a record of ours that can write
itself as a folder, together with what the file says and what it cannot say.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.files import LARGEST_TEXT_BYTES

HEAD_BYTES = 1 << 16
GZIP = b"\x1f\x8b"
"""How a file begins that gzip packed."""


class Savable(Protocol):
    """A record of ours."""

    def save(self, folder: Path) -> None:
        """Write it as a folder, whole or not at all. Raises `CannotWrite`."""


class Imported(NamedTuple):
    """What was read; `says` and `lacks` are what the file tells of it and what it cannot tell, a line each; `then` the
    command that takes the folder, in whose place there is {folder}."""

    what: Savable
    says: tuple[str, ...]
    lacks: tuple[str, ...]
    then: str


@runtime_checkable
class OfGpu(Savable, Protocol):
    """A record that is simulated with the profile of its GPU."""

    def on_gpu(self, gpu: str) -> Savable:
        """The same of a GPU of this name."""


class Reader(NamedTuple):
    """One kind of file. `recognises` is given its first `HEAD_BYTES`, unpacked; `read` raises `InvalidFile`;
    `check_writable` raises `CannotWrite`, before anything is read, where its folder could not be written."""

    kind: str
    title: str
    recognises: Callable[[bytes], bool]
    read: Callable[[Path], Imported]
    check_writable: Callable[[Path], None]


def head_of(path: Path) -> bytes:
    """How the file begins, unpacked where gzip packed it. Raises `InvalidFile`."""
    return _read(path, HEAD_BYTES)


def text_of(path: Path, most_bytes: int = LARGEST_TEXT_BYTES) -> str:
    """Its text, unpacked where gzip packed it. Raises `InvalidFile` for more than so many bytes, or what is no text."""
    contents = _read(path, most_bytes + 1)
    if len(contents) > most_bytes:
        raise InvalidFile([Fault(str(path), None, "size", f"more than {most_bytes} bytes", f"at most {most_bytes}")])
    try:
        return contents.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"a byte that is not UTF-8 at {error.start}"
        raise InvalidFile([Fault(str(path), None, "text", found, "a text file")]) from None


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as source:
            if source.read(len(GZIP)) != GZIP:
                source.seek(0)
                return source.read(most_bytes)
            source.seek(0)
            with gzip.open(source) as unpacked:
                return unpacked.read(most_bytes)
    except FileNotFoundError:
        raise InvalidFile([Fault(str(path), None, "file", "nothing by this name", "a file")]) from None
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InvalidFile([Fault(str(path), None, "gzip", "a damaged end", "a whole file")]) from None
    except OSError as error:
        raise InvalidFile([Fault(str(path), None, "file", error.strerror or "an error", "a readable file")]) from None
    except ValueError:  # a NUL in it
        raise InvalidFile([Fault(repr(str(path)), None, "file", "a name that no file can have", "a file")]) from None
