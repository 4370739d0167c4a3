"""Random damage to files: bytes lost, added, moved; values replaced by ones that no reader should stumble over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from vdnnsim.errors import InvalidInput

NASTY = (
    b"",
    b"-1",
    b"0",
    b"-0",
    b"-0.0",
    b"NaN",
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"1e-400",
    b"9" * 400,
    b"9" * 5000,
    b"0x" + b"f" * 5000,
    b"1_000",
    b"+5",
    b"1.5",
    b"5 us",
    b"5 parsecs",
    b"true",
    b'"',
    b'""',
    b"'''",
    b'"""',
    b"[]",
    b"{}",
    b"[" * 2000,
    b"[1, 2, 3]",
    b"a.b.c = 1",
    b"x" + b".x" * 3000 + b" = 1",
    b"2024-13-45",
    b"25:61:61",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    "\u2028\x85\x0b\x1c".encode(),
    b"\r",
    b"\r\n",
    b"\n",
    b",",
    b",,,,,,,,,,",
    b"#",
    b"=",
    b"\\",
    b"\x1b[31m",
    b"%s%n{0}",
    b"\xd9\xa1\xd9\xa2",  # Arabic digits
    b" ",
    b"\t" * 1000,
)


@st.composite
def damaged(draw: DrawFn, whole: bytes) -> bytes:
    """A valid file with one to four things wrong with it, or right still."""
    contents = whole
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.integers(0, len(contents)))
        last = min(len(contents), first + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["cut", "insert", "replace", "bytes", "value", "lines", "end", "endings"]))
        if kind == "cut":
            contents = contents[:first] + contents[last:]
        elif kind == "insert":
            contents = contents[:first] + draw(st.sampled_from(NASTY)) + contents[first:]
        elif kind == "replace":
            contents = contents[:first] + draw(st.sampled_from(NASTY)) + contents[last:]
        elif kind == "bytes":
            contents = contents[:first] + draw(st.binary(max_size=20)) + contents[last:]
        elif kind == "value":
            contents = _another_value(draw, contents)
        elif kind == "lines":
            lines = contents.split(b"\n")
            line = lines.pop(draw(st.integers(0, len(lines) - 1)))
            for _ in range(draw(st.integers(0, 2))):
                lines.insert(draw(st.integers(0, len(lines))), line)
            contents = b"\n".join(lines)
        elif kind == "end":
            contents = contents[:first]
        else:
            contents = contents.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n"])))
    return contents


def _another_value(draw: DrawFn, contents: bytes) -> bytes:
    """One cell of a table or the right side of one assignment replaced."""
    lines = contents.split(b"\n")
    index = draw(st.integers(0, len(lines) - 1))
    mark = b"=" if b"=" in lines[index] else b","
    parts = lines[index].split(mark)
    parts[draw(st.integers(0, len(parts) - 1))] = draw(st.sampled_from(NASTY))
    lines[index] = mark.join(parts)
    return b"\n".join(lines)


def read_or_refuse(read: Callable[[Path], object], path: Path) -> bool:
    """Whether the file could be read. Refusing it means an `InvalidInput` with a message for people; anything else
    goes through and fails the test."""
    try:
        read(path)
    except InvalidInput as error:
        message = str(error)
        assert message
        assert len(message) < 30_000
        assert len(message.splitlines()) <= 21
        assert message.isprintable() or "\n" in message
        return False
    return True
