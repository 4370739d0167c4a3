"""The events of a Chrome trace one by one, so that a file of gigabytes needs the memory of one event.

The file is an object with a list `traceEvents`, or that list alone, packed by gzip or not. Kineto writes other keys
before and behind it; a profiler that was stopped leaves no closing bracket.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vdnnsim.errors import Fault, InvalidFile, shown
from vdnnsim.readers.kinds import GZIP

EVENTS = "traceEvents"
_CHUNK_BYTES = 1 << 22
_LONGEST = 1 << 24
"""No event, and no value beside the events, is longer than so many letters."""
_MOST_EVENTS = 30_000_000
_BLANKS = re.compile(r"[ \t\n\r]*")


class ChromeEvents:
    """Iterate for the events, once; afterwards `told` has what the file says beside them. Raises `InvalidFile` with the
    number of the event behind which the file is cut short or broken."""

    def __init__(self, path: Path) -> None:
        self.told: dict[str, Any] = {}
        self.count = 0
        self._path = path
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder(strict=False)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as source:
                packed = source.read(len(GZIP)) == GZIP
                source.seek(0)
                with gzip.open(source) if packed else source as self._source:
                    self._letters = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
                    yield from self._document()
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise self.fault("a damaged end of gzip", "a whole file") from None
        except OSError as error:
            raise self.fault(error.strerror or "an error", "a readable file") from None

    def fault(self, found: str, expected: str) -> InvalidFile:
        """What is wrong behind the events that were read."""
        place = f"behind event {self.count}" if self.count else "begin"
        return InvalidFile([Fault(str(self._path), None, place, found, expected)])

    def _document(self) -> Iterator[dict[str, Any]]:
        if self._next() == "[":
            yield from self._events()
            return
        self._take("{")
        while self._next() != "}":
            key = self._value()
            self._take(":")
            if key == EVENTS and self._next() == "[":
                yield from self._events()
            else:
                self.told[str(key)] = self._value()
            if self._next() != "}":
                self._take(",")

    def _events(self) -> Iterator[dict[str, Any]]:
        self._take("[")
        while self._next() != "]":
            event = self._value()
            if not isinstance(event, dict):
                raise self.fault(shown(str(event)), "an event: a JSON object")
            self.count += 1
            if self.count > _MOST_EVENTS:
                raise self.fault("further events", f"at most {_MOST_EVENTS}")
            yield event
            if self._next() != "]":
                self._take(",")
        self._take("]")

    def _next(self) -> str:
        """The next letter that is no blank, which stays. Raises `InvalidFile` at the end."""
        while True:
            match = _BLANKS.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                raise self.fault("the end of the file", "its closing bracket: it is cut short")

    def _take(self, letter: str) -> None:
        if (found := self._next()) != letter:
            raise self.fault(shown(self._text[self._at : self._at + 20] or found), f"'{letter}'")
        self._at += 1

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError):
                value, end = None, len(self._text)
            if end < len(self._text):  # a number may go on in the next chunk
                self._at = end
                return value
            if len(self._text) - self._at > _LONGEST:
                raise self.fault(shown(self._text[self._at : self._at + 20]), "JSON")
            if not self._more():
                if value is None:
                    raise self.fault("the end of the file within an event", "all of it: it is cut short or no JSON")
                self._at = end
                return value

    def _more(self) -> bool:
        """Read on; False at the end."""
        chunk = self._source.read(_CHUNK_BYTES)
        self._text = self._text[self._at :] + self._letters.decode(chunk, final=not chunk)
        self._at = 0
        return bool(chunk)

    _source: IO[bytes] | gzip.GzipFile
