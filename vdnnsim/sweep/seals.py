"""What every part of a sweep's results says of itself: which sweep it belongs to, what it holds, and a checksum.

The seal is one line of text among the key-value metadata in a Parquet file's footer, where any reader of Parquet shows
it under `KEY`. Its checksum is over all bytes of the file, its own digits taken as zeros: one bit that changed
anywhere, or an end that is missing, is seen without reading the table.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

KEY = "vdnnsim.part"
_CHECKSUM_BYTES = 16
_NO_CHECKSUM = b"0" * (2 * _CHECKSUM_BYTES)
_LINE = re.compile(rb"part ([0-9]+) of sweep ([0-9a-f]{64}): ([0-9]+) points, ([0-9]+) failed; checksum ([0-9a-f]{32})")


class Seal(NamedTuple):
    """A part by its number in the sweep of this identity, and how many points and failed ones among them it holds."""

    sweep: str
    number: int
    points: int
    failed: int

    def line(self) -> str:
        """The seal of a file whose checksum is not known yet: write it, then `seal` the file."""
        return (
            f"part {self.number} of sweep {self.sweep}: {self.points} points, {self.failed} failed; "
            f"checksum {_NO_CHECKSUM.decode()}"
        )


def seal(contents: bytes) -> bytes:
    """A file that holds a seal's `line`, with its checksum. Raises `ValueError` where there is none."""
    found = _find(contents)
    if found is None:
        raise ValueError("no seal to fill in")
    start, end = found.span(5)
    return contents[:start] + _checksum(contents, found) + contents[end:]


def read_seal(contents: bytes) -> Seal | None:
    """What a file says of itself; None where anything in it changed since it was sealed."""
    found = _find(contents)
    if found is None or found[5] != _checksum(contents, found):
        return None
    return Seal(found[2].decode(), int(found[1]), int(found[3]), int(found[4]))


def _find(contents: bytes) -> re.Match[bytes] | None:
    """The last line of this form: the footer ends the file."""
    place = contents.rfind(b"part ", 0, contents.rfind(b" of sweep ") + 1)
    return _LINE.match(contents, place) if place >= 0 else None


def _checksum(contents: bytes, found: re.Match[bytes]) -> bytes:
    """As digits. Two parts of the file and zeros between, so that it is not copied."""
    start, end = found.span(5)
    digest = hashlib.blake2b(memoryview(contents)[:start], digest_size=_CHECKSUM_BYTES)
    digest.update(_NO_CHECKSUM)
    digest.update(memoryview(contents)[end:])
    return digest.hexdigest().encode()
