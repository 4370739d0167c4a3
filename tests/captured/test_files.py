"""Captured steps on disk: what is written is read, and every fault is told with file and line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from captured.steps import MIB, three_layers
from vdnnsim.captured import BlockClass, PlanFile, UnpinnedCopy, WaitCosts, hook_schedule, read_step, write_step
from vdnnsim.captured.consistency import wrongs_of
from vdnnsim.errors import CannotWrite, InvalidFile, InvalidInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_step(three_layers(), tmp_path / "three")
    return tmp_path / "three"


def test_what_is_written_is_read(folder: Path) -> None:
    assert read_step(folder) == three_layers()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["three"]


def test_what_waits_cost_is_written_where_it_was_measured(tmp_path: Path) -> None:
    waits = WaitCosts(400_000, 70_000, 90_000, (UnpinnedCopy(4096, 10_000, 20_000), UnpinnedCopy(8192, 19_000, 0)))
    step = replace(three_layers(), waits=waits)
    write_step(step, tmp_path / "three")
    assert read_step(tmp_path / "three") == step
    header = tmp_path / "three" / "header.toml"
    header.write_text(header.read_text().replace("begin_ns = 400000", "begin_ns = -1"))
    with pytest.raises(InvalidFile, match=r"waits\.begin_ns"):
        read_step(tmp_path / "three")


def test_a_step_replaces_one_that_is_there_and_nothing_else(folder: Path) -> None:
    write_step(three_layers(), folder)
    assert read_step(folder) == three_layers()
    other = folder.parent / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("mine")
    with pytest.raises(CannotWrite, match="no captured step"):
        write_step(three_layers(), other)
    assert (other / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("blocks.csv", "16777216,saved,4", "16777216,saved,five", "blocks.csv:10: taken: found 'five'"),
        ("blocks.csv", "16777216,saved,4,25", "16777216,saved,4,18", "blocks.csv:10: given: found 18; expected 20 or"),
        ("blocks.csv", "16777216,saved,4", "16777216,saved,5", "deeds.csv:6: number: found block 8"),
        ("blocks.csv", "saved", "feature map", "blocks.csv:9: holds: found 'feature map'; expected one of parameter"),
        ("deeds.csv", "need,6", "need,7", "deeds.csv:18: number: found 7; expected one of the 7 in saved"),
        ("deeds.csv", "launch,8\n", "", "deeds.csv: rows: found 30; expected 31, which header.toml promises"),
        ("deeds.csv", "launch,1", "launch,2", "deeds.csv:7: number: found launch 2; expected launch 1"),
        (
            "kernels.csv",
            "kernel3,gemm,3",
            "kernel3,gemm,13",
            "kernels.csv:5: operator: found 13; expected one of",
        ),
        ("kernels.csv", "100000", "-1", "kernels.csv:2: duration_ns: found '-1'"),
        ("kernels.csv", "name,kind", "kind,name", "kernels.csv:1: columns"),
        ("saved.csv", "2097152,1", "2097152x1,1", "saved.csv:4: stride: found 1; expected 2 numbers"),
        ("header.toml", "step_ns = 1000000", "step_ns = -1", "header.toml:17: seen.step_ns"),
        ("header.toml", "batch = 4", "batch = true", "setting"),
    ],
)
def test_faults_are_told_with_their_line(folder: Path, file: str, old: str, new: str, message: str) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InvalidFile) as raised:
        read_step(folder)
    assert message in str(raised.value)


def test_a_missing_folder_or_table_is_told(folder: Path) -> None:
    with pytest.raises(InvalidFile, match="no such folder"):
        read_step(folder / "nowhere")
    (folder / "saved.csv").unlink()
    with pytest.raises(InvalidFile, match=r"saved\.csv: file: found nothing by this name"):
        read_step(folder)


def test_a_plan_is_written_and_read(tmp_path: Path) -> None:
    step = three_layers()
    for leaving in ((), (7, 9)):
        schedule = hook_schedule(step, leaving, ahead=2)
        plan = PlanFile.of(step, "half", schedule, 12_345, 678)
        plan.save(tmp_path / "plan.json")
        read = PlanFile.load(tmp_path / "plan.json")
        assert read == plan
        assert read.schedule(step) == schedule
        assert read.pinned_bytes == sum(step.blocks[number].size_bytes for number in leaving)


def test_a_plan_of_another_step_or_none_is_refused(tmp_path: Path) -> None:
    step = three_layers()
    plan = PlanFile.of(step, "half", hook_schedule(step, [7]), 12_345, 678)
    with pytest.raises(InvalidInput, match=r"plan of three, PyTorch: found 2\.12\.0, expected 2\.11\.0"):
        plan.check_model("2.12.0", "a" * 64, ())
    of_another = replace(step.header, model_sha256="c" * 64)
    heavy = (step.blocks[0], step.blocks[1]._replace(size_bytes=2 * MIB), *step.blocks[2:])
    light = (step.blocks[0]._replace(size_bytes=MIB // 2), *step.blocks[1:])
    fewer = (*step.blocks[:2], step.blocks[2]._replace(holds=BlockClass.OTHER), *step.blocks[3:])
    more = (*step.blocks, step.blocks[0])
    for blocks, said in (
        (heavy, "model: found parameter or buffer 1 of 2097152 bytes, expected 1048576; capture a step of this one"),
        (light, "model: found parameter or buffer 0 of 524288 bytes, expected 1048576"),
        (fewer, "model: found 2 parameters and buffers, expected 3"),
        (more, "model: found parameter or buffer 3, expected no more than 3 parameters and buffers"),
        (
            step.blocks,
            r"found parameters and buffers of other names, shapes or types \(digest cccccccc\), expected its",
        ),
    ):
        with pytest.raises(InvalidInput, match=said):
            plan.schedule(replace(step, header=of_another, blocks=blocks))
    with pytest.raises(InvalidInput, match=r"other names, .* \(digest cccccccc\)"):
        replace(plan, held_bytes=()).check(replace(step, header=of_another, blocks=heavy))
    other_order = replace(step.header, order_sha256="d" * 64)
    wider = (*step.saved[:2], step.saved[2]._replace(shape=(2048, 1024), stride=(1024, 1)), *step.saved[3:])
    for saved, said in (
        (wider, r"saved tensors: found number 2 to be float32 \[2048, 1024\], strides \[1024, 1\], from byte 0, exp"),
        (step.saved[:2], "saved tensors: found 2, expected 3 or more"),
        (step.saved, r"saved tensors: found others \(digest dddddddd\), expected its own \(bbbbbbbb\)"),
    ):
        with pytest.raises(InvalidInput, match=said):
            plan.check(replace(step, header=other_order, saved=saved))
    path = tmp_path / "plan.json"
    plan.save(path)
    path.write_text(path.read_text().replace('"out": 3', '"out": "soon"'))
    with pytest.raises(InvalidFile, match=r"plan\.json: leaving\[0\]\.out: found 'soon'"):
        PlanFile.load(path)
    path.write_text("{")
    with pytest.raises(InvalidFile, match="JSON"):
        PlanFile.load(path)


@pytest.mark.parametrize(
    ("field", "number", "said"),
    [
        ("out", 4, r"out: found 4; expected 3, the call in which the last of it is saved"),
        ("freed", 2, r"freed: found 2; expected 3 \(out\) or more"),
        ("back", 7, r"back: found 7; expected a call of the unpack hook behind 7 \(freed\)"),
        ("back", 15, r"back: found 15; expected a call of the unpack hook behind 7 \(freed\)"),
        ("needed", 9, r"needed: found 9; expected 10 \(back\), or a call of the unpack hook behind it"),
        ("needed", 15, r"needed: found 15; expected"),
        ("number", 7, r"saved: found 7; expected a number of one of the step's saved tensors"),
        ("number", 2, r"saved: found 2; expected each saved tensor in one block"),
    ],
)
def test_a_plan_in_an_order_that_would_bring_back_other_bytes_is_refused(
    tmp_path: Path, field: str, number: int, said: str
) -> None:
    step, path = three_layers(), tmp_path / "plan.json"
    PlanFile.of(step, "half", hook_schedule(step, [7, 8], ahead=2), 12_345, 678).save(path)
    text, row = path.read_text(), int(field == "number")
    rows = text.splitlines()
    found = [n for n, line in enumerate(rows) if '"block"' in line][row]
    rows[found] = re.sub(f'"{field}": [0-9]+', f'"{field}": {number}', rows[found])
    path.write_text("\n".join(rows))
    with pytest.raises(InvalidFile, match=rf"plan\.json: leaving\[{row}\]\.{said}"):
        PlanFile.load(path)


def test_a_plan_says_what_training_must_know_of_what_leaves(tmp_path: Path) -> None:
    step = three_layers()
    PlanFile.of(step, "half", hook_schedule(step, [9]), 12_345, 678).save(tmp_path / "plan.json")
    read = PlanFile.load(tmp_path / "plan.json")
    assert (read.hook_runs, read.held_bytes) == ((7, 7), (MIB, MIB, MIB))
    (block,) = read.leaving
    assert block.saved == ((6, "float32", (8 * 2**20,), (1,), 0),)
    assert (block.needs, block.out, block.needed) == (1, 7, 8)


def test_a_step_saves_itself(tmp_path: Path) -> None:
    step = three_layers()
    step.save(tmp_path / "three")
    assert read_step(str(tmp_path / "three")) == step


def test_what_is_saved_before_its_block_is_taken_is_refused() -> None:
    step = three_layers()
    early = step.saved[2]._replace(block=9)  # deed 6 saves it, deed 8 takes the block
    first = wrongs_of(replace(step, saved=(*step.saved[:2], early, *step.saved[3:])))[0]
    assert first == ("blocks", 9, "taken", "8", "6 or earlier: it is saved then")
