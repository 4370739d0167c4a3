"""Pickles of plain lists, dicts, tuples, texts and numbers; anything that would run code is refused unread."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NoReturn

from vdnnsim.errors import Fault, InvalidFile, shown

_LARGEST_BYTES = 2**31


class _Refused(Exception):  # noqa: N818 - reads as what it is
    """Something else than plain data; ``args`` is (what,)."""


class _PlainUnpickler(pickle.Unpickler):
    """One that finds no classes and no functions, so that nothing in the file can name what to call."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, _pid: Any) -> NoReturn:
        raise _Refused("an object that lies elsewhere")


def load_plain(path: Path, expected: str) -> Any:
    """What the pickle holds. Raises `InvalidFile` for what is none, is cut short, above 2 GiB, or would run code."""
    try:
        if (size := path.stat().st_size) > _LARGEST_BYTES:
            raise InvalidFile([Fault(str(path), None, "size", f"{size} bytes", f"at most {_LARGEST_BYTES} bytes")])
        with path.open("rb") as source:
            return _PlainUnpickler(source).load()
    except _Refused as error:
        found = f"a pickle that would call {shown(str(error))}, of which nothing was run"
        raise InvalidFile([Fault(str(path), None, "pickle", found, f"plain data: {expected}")]) from None
    except InvalidFile:
        raise
    except OSError as error:
        raise InvalidFile([Fault(str(path), None, "file", error.strerror or "an error", "a readable file")]) from None
    except EOFError:
        raise InvalidFile(
            [Fault(str(path), None, "pickle", "the end of the file", "all of it: it is cut short")]
        ) from None
    except (Exception, MemoryError) as error:  # whatever a damaged pickle raises
        found = f"what is no pickle, or a damaged one ({type(error).__name__})"
        raise InvalidFile([Fault(str(path), None, "pickle", found, expected)]) from None
