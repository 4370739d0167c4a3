"""Nothing that changed after it was written is taken for a result: bits, ends, parts of others, misspelt columns."""

from __future__ import annotations

import io
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from support.sweeps import SMALL, write_spec
from vdnnsim.cli import main
from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.sweep.columns import COLUMNS
from vdnnsim.sweep.plan import Sweep, plan_sweep
from vdnnsim.sweep.reading import export_csv, read_status, read_sweep
from vdnnsim.sweep.run import Progress, run_sweep
from vdnnsim.sweep.seals import KEY, Seal, read_seal, seal
from vdnnsim.sweep.store import Store
from vdnnsim.sweep.table import TableBuilder

OTHER = SMALL.replace("2.5]", "3]")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return plan_sweep(write_spec(tmp_path_factory.mktemp("spec"), SMALL))


@pytest.fixture(scope="module")
def done(sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("done") / "out"
    run_sweep(sweep, folder, jobs=1)
    return folder


@pytest.fixture
def out(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "out"))


def first_part(folder: Path) -> Path:
    return Store(folder).part_path(0)


def damaged(contents: bytes, chance: random.Random) -> bytes:
    """One bit turned, the end cut off, or a byte too many."""
    kind = chance.random()
    place = chance.randrange(len(contents))
    if kind < 0.7:
        return contents[:place] + bytes([contents[place] ^ 1 << chance.randrange(8)]) + contents[place + 1 :]
    return contents[:place] if kind < 0.95 else contents + bytes([chance.randrange(256)])


def test_no_bit_and_no_end_changes_unseen(done: Path) -> None:
    whole = first_part(done).read_bytes()
    assert read_seal(whole) is not None
    chance = random.Random(0)
    assert [read_seal(damaged(whole, chance)) for _ in range(1000)] == [None] * 1000


def test_the_seal_is_told_to_every_reader_of_parquet(sweep: Sweep, done: Path) -> None:
    metadata = pq.read_metadata(first_part(done)).metadata
    line = metadata[KEY.encode()].decode()
    assert line.startswith(f"part 0 of sweep {sweep.manifest.identity}: 64 points, 0 failed; checksum ")


def test_words_stand_once_in_a_part_and_numbers_as_they_are(done: Path) -> None:
    rows = pq.read_metadata(first_part(done)).row_group(0)
    columns = [rows.column(number) for number in range(rows.num_columns)]
    assert {one.physical_type for one in columns if one.has_dictionary_page} == {"BYTE_ARRAY"}


def test_a_seal_by_hand() -> None:
    own = Seal("ab" * 32, 7, 12, 3)
    contents = seal(b"rows " + own.line().encode() + b" end")
    assert read_seal(contents) == own
    assert read_seal(contents.replace(b"12 points", b"13 points")) is None
    assert read_seal(b"rows") is None
    with pytest.raises(ValueError, match="no seal"):
        seal(b"rows")


@pytest.mark.parametrize("seed", range(5))
def test_damage_is_told_and_done_again(out: Path, sweep: Sweep, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    part = first_part(out)
    whole = part.read_bytes()
    part.write_bytes(damaged(whole, random.Random(seed)))
    said = f"{part}: damaged: it is not what was written"
    for act in (lambda: export_csv(out, io.BytesIO()), lambda: read_sweep(out)):
        with pytest.raises(InvalidInput, match="Run the sweep again with --resume") as error:
            act()
        assert said in str(error.value)
    assert read_status(out).done == 26
    assert said in command(capsys, "sweep", "status", out)[1]
    assert run_sweep(sweep, out, jobs=1, resume=True) == Progress(64, 0, 26, 90)
    assert part.read_bytes() == whole
    assert len(read_sweep(out)) == 90


def test_damage_is_told_before_the_first_row(out: Path) -> None:
    """Also where the part that is damaged is not the first."""
    part = Store(out).part_path(1)
    part.write_bytes(part.read_bytes()[:-1])
    stdout = io.BytesIO()
    with pytest.raises(InvalidInput, match="damaged"):
        export_csv(out, stdout)
    assert stdout.getvalue() == b""


def test_a_part_of_another_sweep_is_told_and_replaced(out: Path, sweep: Sweep, tmp_path: Path) -> None:
    other = tmp_path / "other"
    run_sweep(plan_sweep(write_spec(tmp_path, OTHER)), other, jobs=1)
    shutil.copy(first_part(other), first_part(out))
    with pytest.raises(InvalidInput, match="found a part of another sweep, expected one of this sweep"):
        read_sweep(out)
    assert (read_status(out).done, len(read_status(out).faulty)) == (26, 1)
    assert run_sweep(sweep, out, jobs=1, resume=True).done == 64
    assert len(read_sweep(out)) == 90


def test_a_part_under_the_name_of_another_is_told(out: Path) -> None:
    first_part(out).rename(Store(out).part_path(1))
    with pytest.raises(InvalidInput, match="found part 0 under another's name, expected part 1"):
        read_sweep(out)


def test_a_file_that_is_no_part_is_told(out: Path, sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    """Readers of the folder would take its rows, and --resume would not replace it."""
    stranger = out / "points" / "part-0000002.parquet"
    shutil.copy(first_part(out), stranger)
    acts: tuple[Callable[[], object], ...] = (
        lambda: read_sweep(out),
        lambda: export_csv(out, io.BytesIO()),
        lambda: run_sweep(sweep, out, jobs=1, resume=True),
    )
    for act in acts:
        with pytest.raises(InvalidInput, match="no part of this sweep") as error:
            act()
        assert str(stranger) in str(error.value)
    assert f"{stranger}: no part of this sweep" in command(capsys, "sweep", "status", out)[1]


def test_a_manifest_that_changed_is_told(done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    whole = (done / "sweep.json").read_bytes()
    for turned in (whole.replace(b'"points": 90', b'"points": 91'), whole[:-30], whole.replace(b"  64", b"  65")):
        assert turned != whole
        (out / "sweep.json").write_bytes(turned)
        with pytest.raises(InvalidInput, match=r"sweep\.json: damaged"):
            Store(out).manifest()


@pytest.mark.parametrize("change", ["misspelt", "missing"])
def test_a_misspelt_column_is_no_null(change: str) -> None:
    entries: dict[str, None] = dict.fromkeys(column.name for column in COLUMNS)
    del entries["stall_ns"]
    if change == "misspelt":
        entries["stal_ns"] = None
    with pytest.raises(ValueError, match="stall_ns"):
        TableBuilder().add(1, entries)


def test_a_misspelt_column_is_not_read_as_none(out: Path) -> None:
    with pytest.raises(UnknownName, match="unknown column 'iteration_time'; did you mean 'iteration_time_ns'"):
        read_sweep(out, ["point", "iteration_time"])


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vdnnsim", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as end:
            main()
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_without_pyarrow(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """How far it is, a sweep says without; all else says what to install."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
            patch.setitem(sys.modules, name, None)
        code, text, err = command(capsys, "sweep", "status", out)
        assert (code, err) == (0, "")
        assert "90 of 90 done" in text
        spec = write_spec(tmp_path, SMALL, "again.toml")
        for words in (
            ("export", out),
            ("plot", out, "--out", tmp_path / "a.png"),
            (spec, "--out", tmp_path / "new"),
            (spec, "--out", out, "--resume"),
        ):
            code, _, err = command(capsys, "sweep", *words)
            assert (code, err.splitlines()[-1][:36]) == (2, "vdnnsim: sweep: found no pyarrow, ex"), words


def test_a_parquet_file_is_exported_as_one(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = command(capsys, "sweep", "export", out, "--out", tmp_path / "all.parquet")
    assert (code, err) == (0, f"90 rows: {tmp_path / 'all.parquet'}\n")
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.to_pandas().astype(object).equals(read_sweep(out).astype(object))
    assert table.schema.field("stall_ns").metadata[b"unit"] == b"ns"
    assert command(capsys, "sweep", "export", out, "--out", "-")[1] == command(capsys, "sweep", "export", out)[1]
