"""Nsight Systems' SQLite: kernels, copies, ranges; other databases are refused."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.commands import in_process
from vdnnsim import InvalidFile
from vdnnsim.readers.nsys import NsysCopy, NsysKernel, NsysRange, hidden_ns, read_nsys

MB = 10**6
KERNEL_COLUMNS = "start, end, deviceId, streamId, demangledName, correlationId, globalPid"
COPY_COLUMNS = "start, end, deviceId, streamId, bytes, copyKind, srcKind, dstKind"


def report(path: Path, *more: str) -> Path:
    """Two kernels, of which the second runs beside half of a copy out; three copies in of 10 GB/s."""
    statements = [
        "CREATE TABLE StringIds (id INTEGER, value TEXT)",
        "INSERT INTO StringIds VALUES (1, 'gemm<float>'), (2, 'forward')",
        f"CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL ({KERNEL_COLUMNS})",
        "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (2000, 3000, 0, 7, 1, 12, 5), (0, 1000, 0, 7, 1, 11, 5)",
        f"CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY ({COPY_COLUMNS})",
        "INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (2500, 3500, 0, 8, 4096, 2, 2, 0)",
        *(
            f"INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES ({at * MB}, {at * MB + 400_000}, 0, 9, {4 * MB}, 1, 1, 2)"
            for at in (1, 2, 3)
        ),
        "CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, text TEXT, textId INTEGER)",
        "INSERT INTO NVTX_EVENTS VALUES (0, 1500, NULL, 2), (5, NULL, 'a mark', NULL)",
        *more,
    ]
    with closing(sqlite3.connect(path)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()
    return path


def test_a_report_is_read(tmp_path: Path) -> None:
    found = read_nsys(report(tmp_path / "a b?.sqlite"))
    assert found.kernels == [
        NsysKernel(0, 1000, 0, 7, "gemm<float>", 11), NsysKernel(2000, 3000, 0, 7, "gemm<float>", 12),
    ]  # fmt: skip
    assert found.copies[0] == NsysCopy(2500, 3500, 0, 8, "out", "device", "pageable", 4096)
    assert found.ranges == [NsysRange(0, 1500, "forward")]
    assert hidden_ns(found) == 500


def test_import_writes_tables_and_says_how_fast_copies_are(tmp_path: Path) -> None:
    path, out = report(tmp_path / "my.sqlite"), tmp_path / "out"
    done = in_process(["import", str(path), "--out", str(out)])
    assert (done.code, done.err) == (0, "")
    assert "1 copies out, 4.1 KB, 1 of them of pageable memory" in done.out
    assert "3 copies in, 12.0 MB, large ones 10.00 GB/s" in done.out
    assert sorted(one.name for one in out.iterdir()) == ["about.txt", "copies.csv", "kernels.csv", "ranges.csv"]


def test_other_databases_are_refused_in_a_line(tmp_path: Path) -> None:
    path, out = tmp_path / "other.sqlite", tmp_path / "out"
    view = "CREATE VIEW CUPTI_ACTIVITY_KIND_KERNEL AS SELECT 1 AS start"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE cats (name TEXT)")
        database.execute(view)
    done = in_process(["import", str(path), "--out", str(out)])
    assert (done.code, done.err.count("\n"), out.exists()) == (2, 1, False)
    assert "tables: found tables cats; expected CUPTI_ACTIVITY_KIND_KERNEL or" in done.err


@pytest.mark.parametrize("size", [50, 500, 5000])
def test_a_database_that_is_cut_short_is_refused(size: int, tmp_path: Path) -> None:
    whole = report(tmp_path / "whole.sqlite").read_bytes()
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(whole[:size])
    with pytest.raises(InvalidFile, match="damaged database, or another one"):
        read_nsys(cut)
