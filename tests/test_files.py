"""Reading with bounds, lines of TOML, writing whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.files import LARGEST_TEXT_BYTES, line_of, read_text, toml_lines, whole_file, write_text


def test_text_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfs\xc3\xbc\xc3\x9f\r\n")
    assert read_text(path) == "süß\r\n"


def test_the_largest_text_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * LARGEST_TEXT_BYTES)
    assert len(read_text(path)) == LARGEST_TEXT_BYTES
    path.write_bytes(b"x" * (LARGEST_TEXT_BYTES + 1))
    with pytest.raises(InvalidFile, match="size: found 67108865 bytes; expected at most 67108864 bytes"):
        read_text(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_file_without_end_is_not_read_to_the_end() -> None:
    with pytest.raises(InvalidFile, match="size: found an endless file"):
        read_text(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "Is a directory"),
        ("gone", "nothing by this name"),
        ("gone/deeper", "nothing by this name"),
        ("there/deeper", "Not a directory"),
        ("nul\0", "a name that no file can have"),
        ("x" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(InvalidFile) as caught:
        read_text(tmp_path / name)
    assert message in str(caught.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0)
    with pytest.raises(InvalidFile, match="Permission denied"):
        read_text(path)


TOML = """\
# comment
top = 1
[table]
key = 2
"quoted key" = 3
dotted.deep = 4

[[list]]   # first
a = 1
[[ list ]]
a = 2
points = [
  { x = 1 },
]
[list.inner]
b = 1
['odd'."name"]
c = 1
"""


def test_lines_of_tables_and_keys() -> None:
    assert toml_lines(TOML) == {
        ("top",): 2,
        ("table",): 3,
        ("table", "key"): 4,
        ("table", "quoted key"): 5,
        ("table", "dotted"): 6,
        ("list", 0): 8,
        ("list", 0, "a"): 9,
        ("list", 1): 10,
        ("list", 1, "a"): 11,
        ("list", 1, "points"): 12,
        ("list", "inner"): 15,
        ("list", "inner", "b"): 16,
        ("odd", "name"): 17,
        ("odd", "name", "c"): 18,
    }


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("top",), 2),
        (("list", 1, "points", 0, "x"), 12),
        (("list", 0, "missing"), 8),
        (("nowhere", "at", "all"), None),
        ((), None),
    ],
)
def test_the_line_of_the_longest_known_beginning(place: tuple[str | int, ...], line: int | None) -> None:
    assert line_of(toml_lines(TOML), place) == line


def test_lines_are_found_in_time_that_grows_with_the_text() -> None:
    """Brackets before a long row of blanks: an expression that tries all ways of cutting it would never be done."""
    assert toml_lines("[" + " " * 1_000_000 + "\n[t]\n") == {("t",): 2}


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    write_text(path, "one\ntwo\n")
    assert path.read_bytes() == b"one\ntwo\n"
    write_text(path, "three\n")
    assert path.read_text(encoding="utf-8") == "three\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_may_be_read_by_those_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "out.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o640


class Stop(Exception):  # noqa: N818
    """Something that goes wrong while writing."""


@pytest.mark.parametrize("error", [Stop("half-way"), KeyboardInterrupt(), MemoryError()])
def test_what_fails_half_way_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "out.txt"
    path.write_text("before", encoding="utf-8")

    def write_half() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["gone/out.txt", "there/out.txt", "folder", "x" * 300])
def test_where_nothing_can_be_written_nothing_is_left(tmp_path: Path, name: str) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").touch()
    with pytest.raises(InvalidInput, match="cannot write"):
        write_text(tmp_path / name, "text")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "there"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    def write() -> None:
        with whole_file(tmp_path / "x"), open("/dev/full", "w", encoding="utf-8") as full:
            full.write("x" * 10_000)

    with pytest.raises(InvalidInput, match=r"cannot write .*: No space left on device"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InvalidInput, match="no regular file"):
        write_text(pipe, "text")
    assert pipe.is_fifo()


def test_a_link_is_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old", encoding="utf-8")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == "new"
