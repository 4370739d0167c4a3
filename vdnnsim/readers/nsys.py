"""Nsight Systems' SQLite export (`nsys export --type sqlite`): kernels, copies and NVTX ranges, in nanoseconds.

Tables and columns as in NVIDIA's SQLite schema reference: tables are there where something was recorded, columns differ
by version, names are ids of `StringIds`, launches share `correlationId` and process with what they launch.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import quote

from vdnnsim.errors import Fault, InvalidFile
from vdnnsim.readers.kinds import Imported, Reader
from vdnnsim.readers.tables_record import Rows, Tables, check_tables_writable
from vdnnsim.units import format_bytes, format_ms

_MAGIC = b"SQLite format 3\x00"
_KERNELS, _COPIES, _RANGES = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_MEMCPY", "NVTX_EVENTS"
_WAYS = {1: "in", 2: "out", 8: "within"}
"""CUPTI's kinds of copies that matter here: host to device, device to host, device to device."""
_MEMORIES = {0: "pageable", 1: "pinned", 2: "device", 3: "array", 4: "managed"}
_OF_COPIES = ("start", "end", "deviceId", "streamId", "copyKind", "srcKind", "dstKind", "bytes")
_LARGE_BYTES = 2**20
_LEAST_TIMED = 3


class NsysKernel(NamedTuple):
    """A kernel; `stream` and `device` by number."""

    begin_ns: int
    end_ns: int
    device: int
    stream: int
    name: str
    correlation: int


class NsysCopy(NamedTuple):
    """A copy, "in" to the device, "out" of it or "within" it; the kinds of memory as CUPTI calls them."""

    begin_ns: int
    end_ns: int
    device: int
    stream: int
    way: str
    source: str
    target: str
    size_bytes: int


class NsysRange(NamedTuple):
    """A range of NVTX, of the host's time."""

    begin_ns: int
    end_ns: int
    text: str


class NsysReport(NamedTuple):
    """What a report holds, each in the order of time."""

    gpus: tuple[str, ...]
    kernels: list[NsysKernel]
    copies: list[NsysCopy]
    ranges: list[NsysRange]


def _recognises(head: bytes) -> bool:
    return head.startswith(_MAGIC)


def read_nsys(path: Path) -> NsysReport:
    """Raises `InvalidFile` for a database that is damaged, or is none of Nsight Systems."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1", uri=True)) as database:
            database.text_factory = lambda text: text.decode("utf-8", errors="replace")
            database.execute("PRAGMA trusted_schema=OFF")
            return _Reading(database, str(path)).report()
    except sqlite3.Error as error:
        found = f"a damaged database, or another one ({error})"
        raise InvalidFile([Fault(str(path), None, "sqlite", found, "'nsys export --type sqlite'")]) from None


class _Reading:
    def __init__(self, database: sqlite3.Connection, file: str) -> None:
        self._database = database
        self._file = file
        rows = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        )  # no views: they may run for long
        self._tables = {name for (name,) in rows if isinstance(name, str)}

    def report(self) -> NsysReport:
        if _KERNELS not in self._tables and _COPIES not in self._tables:
            found = f"tables {', '.join(sorted(self._tables)[:5]) or 'none'}"
            expected = f"{_KERNELS} or {_COPIES}: the export of a profile with --trace=cuda"
            raise InvalidFile([Fault(self._file, None, "tables", found, expected)])
        names = dict(self._rows("StringIds", ("id", "value")))
        columns = ("start", "end", "deviceId", "streamId", "demangledName", "correlationId")
        kernels = [
            NsysKernel(
                _whole(begin), _whole(end), _whole(device), _whole(stream), str(names.get(name, "")), _whole(call)
            )
            for begin, end, device, stream, name, call in self._rows(_KERNELS, columns)
        ]
        copies = [
            NsysCopy(
                _whole(begin),
                _whole(end),
                _whole(device),
                _whole(stream),
                _WAYS.get(way, "other"),
                _MEMORIES.get(source, "other"),
                _MEMORIES.get(target, "other"),
                _whole(size_bytes),
            )
            for begin, end, device, stream, way, source, target, size_bytes in self._rows(_COPIES, _OF_COPIES)
        ]
        ranges = [
            NsysRange(begin, end, str(text or names.get(text_id, "")))
            for begin, end, text, text_id in self._rows(_RANGES, ("start", "end", "text", "textId"))
            if isinstance(begin, int) and isinstance(end, int)
        ]
        gpus = tuple(str(name) for (name,) in self._rows("TARGET_INFO_GPU", ("name",)))
        return NsysReport(gpus, sorted(kernels), sorted(copies), sorted(ranges))

    def _rows(self, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Rows of a table, None for columns that this version does not have; none where there is no such table."""
        if table not in self._tables:
            return
        there = {row[1] for row in self._database.execute(f"PRAGMA table_info({table})")}
        wanted = ", ".join(f'"{name}"' if name in there else "NULL" for name in columns)
        yield from self._database.execute(f"SELECT {wanted} FROM {table}")


def _whole(value: object) -> int:
    """What an older version left out counts as 0."""
    return value if isinstance(value, int) else 0


def hidden_ns(report: NsysReport) -> int:
    """How much of the time in which something is copied to or from the host kernels run beside it, in nanoseconds."""
    busy = [(one.begin_ns, one.end_ns) for one in report.kernels]
    copied = [(one.begin_ns, one.end_ns) for one in report.copies if one.way in ("in", "out")]
    return _total(busy) + _total(copied) - _total([*busy, *copied])


def _total(intervals: Sequence[tuple[int, int]]) -> int:
    """The time that intervals fill, which may overlap."""
    total = last = 0
    for begin_ns, end_ns in sorted(intervals):
        total += max(0, end_ns - max(begin_ns, last))
        last = max(last, end_ns)
    return total


def _says(report: NsysReport) -> tuple[str, ...]:
    busy_ns = _total([(one.begin_ns, one.end_ns) for one in report.kernels])
    streams = len({(one.device, one.stream) for one in report.kernels})
    lines = [
        f"{len(report.kernels)} kernels on {streams} streams, busy {format_ms(busy_ns)}"
        + (f", on {', '.join(report.gpus)}" if report.gpus else "")
    ]
    for way in ("out", "in"):
        own = [one for one in report.copies if one.way == way]
        if own:
            rates = [
                one.size_bytes * 10**9 // (one.end_ns - one.begin_ns)
                for one in own
                if one.size_bytes >= _LARGE_BYTES and one.end_ns > one.begin_ns
            ]
            speed = f", large ones {format_bytes(round(median(rates)))}/s" if len(rates) >= _LEAST_TIMED else ""
            pageable = sum("pageable" in (one.source, one.target) for one in own)
            slow = f", {pageable} of them of pageable memory" if pageable else ""
            lines.append(f"{len(own)} copies {way}, {format_bytes(sum(one.size_bytes for one in own))}{speed}{slow}")
    copied_ns = _total([(one.begin_ns, one.end_ns) for one in report.copies if one.way in ("in", "out")])
    if copied_ns:
        lines.append(f"kernels run beside copies for {100 * hidden_ns(report) / copied_ns:.0f} % of their time")
    if report.ranges:
        counts = Counter(one.text for one in report.ranges)
        lines.append(
            f"{len(report.ranges)} NVTX ranges, such as {', '.join(text[:30] for text, _ in counts.most_common(3))}"
        )
    return tuple(lines)


_LACKS = (
    "blocks of memory and what backward needs of them: no step can be made of it, 'vdnnsim capture' makes one",
    "operators: a kernel has its name, and the NVTX range of its launch where the program set some",
    "what waits for what between streams",
)


def _read(path: Path) -> Imported:
    report = read_nsys(path)
    says = _says(report)
    tables: dict[str, Rows] = {
        "kernels": (NsysKernel._fields, report.kernels),
        "copies": (NsysCopy._fields, report.copies),
        "ranges": (NsysRange._fields, report.ranges),
    }
    return Imported(Tables(tables, (*says, *_LACKS)), says, _LACKS, "open {folder}/copies.csv")


READER = Reader("nsys", "an Nsight Systems report (SQLite)", _recognises, _read, check_tables_writable)
