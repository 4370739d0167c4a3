"""Logs of DTR: what each instruction does, every fault with its line, and the commands that take them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.commands import in_process
from support.damage import damaged, read_or_refuse
from support.examples import tries
from vdnnsim.errors import InvalidFile
from vdnnsim.readers import reader_of
from vdnnsim.readers.dtr_log import read_dtr_log
from vdnnsim.replay import LoggedOperator, read_log
from vdnnsim.replay.files import write_log


def instruction(kind: str, **fields: object) -> str:
    return json.dumps({"INSTRUCTION": kind, **fields}, sort_keys=True)


def call(name: str, args: list[str], time: str, *results: tuple[str, str, str]) -> list[str]:
    lines = [instruction("CALL", NAME=name, ARGS=args, RESULT=[result[0] for result in results], TIME=time)]
    for result, memory, alias in results:
        lines += [instruction("MEMORY", NAME=result, MEMORY=memory), instruction("ALIAS", NAME=result, ALIAS=alias)]
    return lines


LINES = [
    instruction("CONSTANT", NAME="before"),
    instruction("ANNOTATE", ANNOTATION="START"),
    instruction("CONSTANT", NAME="w"),
    instruction("MEMORY", NAME="w", MEMORY="100"),
    *call("conv", ["w"], "10", ("a", "50", "-1"), ("mask", "5", "-1")),
    *call("view", ["w", "a"], "1", ("v", "50", "1")),
    instruction("COPY", DST="kept", SRC="v"),
    instruction("RELEASE", NAME="v"),
    instruction("RELEASE", NAME="unknown"),
    instruction("MUTATE", NAME="add_", ARGS=["a", "w"], MUTATE=[0], TIME="4"),
    instruction("COPY_FROM", DST="mask", SRC="a"),
]
A, MASK, V, NEWER = 1, 2, 3, 4


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.log"
    path.write_text("\n".join(LINES) + "\n")
    return path


def test_each_instruction_is_read(log_file: Path) -> None:
    log = read_dtr_log(log_file)
    assert log.operators == (
        LoggedOperator("constant", 0, (), (100,), (-1,)),
        LoggedOperator("conv", 10, (0,), (50, 5), (-1, -1)),
        LoggedOperator("view", 1, (0, A), (0,), (1,)),
        LoggedOperator("add_", 4, (A, 0), (50,), (-1,)),
    )
    assert [(deed.does.value, deed.number) for deed in log.deeds] == [
        ("run", 0), ("pin", 0), ("run", 1), ("run", 2), ("hold", V), ("drop", V), ("run", 3), ("drop", A),
        ("hold", NEWER), ("drop", MASK), ("pin", 0), ("pin", NEWER), ("pin", V),
    ]  # fmt: skip
    assert (log.operators_ns, log.constant_bytes, log.peak_bytes) == (15, 100, 205)


def test_a_packed_log_is_the_same(log_file: Path) -> None:
    packed = log_file.with_name("small.log.gz")
    packed.write_bytes(gzip.compress(log_file.read_bytes()))
    assert read_dtr_log(packed).deeds == read_dtr_log(log_file).deeds
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InvalidFile, match=r"small.log.gz: gzip: found a damaged end; expected a whole file"):
        reader_of(packed)


@pytest.mark.parametrize(
    ("line", "new", "told"),
    [
        (4, "{", r":4: line: found '{'; expected an instruction, as JSON"),
        (4, instruction("RELEASE", NAME="w"), r":4: INSTRUCTION: found 'RELEASE w'; expected MEMORY of 'w'"),
        (4, instruction("MEMORY", NAME="w", MEMORY="-1"), r":4: MEMORY: found '-1'; expected a whole number"),
        (5, instruction("CALL", NAME="f", ARGS=["no"], RESULT=["a"], TIME="1"), r":5: ARGS: found 'no'; expected the"),
        (5, instruction("CALL", NAME="f", ARGS=[], RESULT=[], TIME="1"), r":5: RESULT: found none; expected at least"),
        (12, instruction("ALIAS", NAME="v", ALIAS="2"), r":12: ALIAS: found 2; expected -1, or the place of one of 2"),
        (11, instruction("JUMP"), r":11: INSTRUCTION: found 'JUMP'; expected MEMORY of 'v'"),
        (13, instruction("JUMP"), r":13: INSTRUCTION: found 'JUMP'; expected one that DTR's logs have"),
        (13, instruction("COPY", DST="a", SRC="v"), r":13: NAME: found 'a', which there is; expected a new name"),
        (16, instruction("RELEASE", NAME="v"), ""),
        (13, instruction("RELEASE", NAME="v"), r":14: NAME: found one released more often than it is held; expected"),
        (
            16,
            instruction("MUTATE", NAME="f", ARGS=["a"], MUTATE=[1], TIME="1"),
            r":16: MUTATE: found '\[1\]'; expected",
        ),
    ],
)
def test_a_fault_is_told_with_its_line(line: int, new: str, told: str, log_file: Path) -> None:
    lines = [*LINES[: line - 1], new, *LINES[line:]]
    log_file.write_text("\n".join(lines))
    if not told:
        read_dtr_log(log_file)
        return
    with pytest.raises(InvalidFile, match=told):
        read_dtr_log(log_file)


@given(st.data())
@settings(max_examples=tries(20))
def test_a_damaged_log_is_refused_or_read(data: st.DataObject) -> None:
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / "small.log"
        path.write_bytes(data.draw(damaged("\n".join(LINES).encode())))
        read_or_refuse(read_dtr_log, path)


@given(st.data())
@settings(max_examples=tries(20))
def test_a_damaged_folder_is_refused_or_read(data: st.DataObject) -> None:
    with TemporaryDirectory() as temporary:
        source, folder = Path(temporary) / "small.log", Path(temporary) / "log"
        source.write_text("\n".join(LINES))
        write_log(read_dtr_log(source), folder)
        path = folder / data.draw(st.sampled_from(("header.toml", "operators.csv", "deeds.csv")))
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        if read_or_refuse(read_log, folder):
            log = read_log(folder)
            write_log(log, folder)
            assert read_log(folder) == log


def test_a_log_is_imported_and_replayed(log_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    done = in_process(["import", str(log_file), "--out", str(folder)])
    assert (done.code, done.err) == (0, "")
    assert "  3 operators, 0.000 ms in all; 5 tensors, of which 1 (100 B) are there from the beginning\n" in done.out
    assert done.out.endswith(f"Next: vdnnsim replay {folder}\n")
    assert read_log(folder) == read_dtr_log(log_file)
    done = in_process(["replay", str(folder), "--budgets", "1,150B", "--heuristics", "lru", "--csv", "-"])
    assert (done.code, done.out.splitlines()[1:]) == (
        0,
        ["small,lru,bytes,205,done,1.0,15,0,205,0", "small,lru,bytes,150,no room,,0,0,100,0"],
    )
    done = in_process(["replay", str(folder), "--budgets", "1,0.5", "--memory", "bytes,best-fit"])
    assert "lru        best-fit    none  none\n" in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["import", "{file}", "--out", "{tmp}/gone/x"], "gone is no folder"),
        (
            ["import", "{tmp}/none.log", "--out", "{tmp}/x"],
            "none.log: file: found nothing by this name; expected a file",
        ),
        (["import", __file__, "--out", "{tmp}/x"], "kind: found none that is known; expected one of these: dtr-log"),
        (["import", "{file}", "--out", "{tmp}"], "it is there and no logged program"),
        (["import", "{file}", "--out", "{tmp}/x", "--kind", "dtr"], "unknown kind of file 'dtr'; did you mean"),
        (["replay", "{tmp}/x"], "header.toml: header: found no such folder; expected that of a logged program"),
        (["replay", "{tmp}/x", "--budgets", "1.5"], "--budgets: found '1.5', expected a share of the peak, up to 1"),
        (["replay", "{tmp}/x", "--memory", "byte"], "unknown memory 'byte'; did you mean 'bytes'?"),
        (["replay", "{tmp}/x", "--heuristics", "lru,lru"], "--heuristics: found 'lru,lru', expected each one once"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(words: list[str], told: str, log_file: Path, tmp_path: Path) -> None:
    done = in_process([word.format(file=log_file, tmp=tmp_path) for word in words])
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert told in done.err
    assert not (tmp_path / "x").exists()
