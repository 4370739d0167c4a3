"""`vdnnsim capture`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from captured.steps import three_layers
from support.commands import in_process
from vdnnsim.captured import CapturedStep, read_step, read_steps
from vdnnsim.pytorch.digests import model_sha256

STEP = three_layers()

SCRIPT = """
import torch
from torch import nn

def make(batch: int = 4, rate: float = 0.1, device: str = "cpu"):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    inputs = torch.randn(batch, 8)

    def step():
        optimizer.zero_grad()
        model(inputs).square().sum().backward()
        optimizer.step()

    return step, model, optimizer

def two():
    return make()[:2]

def wrong():
    return make()[0], "a model", make()[2]

def failing(batch=4):
    if batch > 2:
        raise ValueError("no data")
    return make(batch)

def failing_step():
    return lambda: 1 / 0, *make()[1:]
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "small_training.py"
    path.write_text(SCRIPT)
    return path


def test_one_capture(script: Path, tmp_path: Path) -> None:
    done = in_process(["capture", f"{script}:make", "--out", str(tmp_path / "out"), "--smallest", "1B"])
    assert (done.code, done.err) == (0, "")
    step = read_step(tmp_path / "out")
    assert (step.header.name, step.header.device) == ("small_training", "cpu")
    assert step.header.setting == {"batch": 4, "rate": 0.1}
    assert f"{len(step.kernels)} kernels" in done.out
    assert f"{len(step.saved)} saved tensors" in done.out
    assert "not put back" not in done.out  # nobody goes on with this training
    assert "not put back" in step.header.conditions["notices"]


def test_several_captures(script: Path, tmp_path: Path) -> None:
    done = in_process(["capture", f"{script}:make", "--vary", "batch=2,4", "--out", str(tmp_path / "out")])
    assert (done.code, done.err) == (0, "")
    varied, steps = read_steps(tmp_path / "out")
    assert varied == "batch"
    assert {value: step.header.setting["batch"] for value, step in steps.items()} == {2: 2, 4: 4}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["batch_2", "batch_4", "index.toml"]


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        ("made", (), "unknown function of {script} 'made'; did you mean 'make'? Known: make, two, wrong, failing"),
        ("two", (), "{script}:two: the call () returned 2 things, expected three: step, model, optimizer"),
        ("wrong", (), "{script}:wrong: the call () returned a str as model, expected a torch.nn.Module"),
        ("failing", (), "{script}:failing: the call () raised ValueError: no data"),
        (
            "failing",
            ("--vary", "batch=2,8"),
            "batch=8: {script}:failing: the call (batch=8) raised ValueError: no",
        ),
        ("failing_step", (), "the step: raised ZeroDivisionError in call 1: division by zero ({script}:"),
        ("make", ("--vary", "width=8,9"), "unknown argument of {script}:make 'width'. Known: batch, rate"),
        ("make", ("--vary", "batch=8,8"), "--vary: found 'batch=8,8', expected an argument and its values, each once"),
        ("make", ("--vary", "batch"), "--vary: found 'batch', expected an argument and its values, each once"),
        ("make", ("--device", "tpu"), "device: found 'tpu', expected cuda or cpu"),
        ("make", ("--smallest", "1"), "--smallest: found '1', expected a size with its unit"),
    ],
)
def test_one_line_says_what_is_wrong(
    script: Path, tmp_path: Path, function: str, options: tuple[str, ...], said: str
) -> None:
    done = in_process(["capture", f"{script}:{function}", "--out", str(tmp_path / "out"), *options])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"vdnnsim: {said.format(script=script)}")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing.py:make", "found no such file"),
        ("script.py", "found no function's name"),
        (":make", "found no function"),
    ],
)
def test_what_is_no_script(tmp_path: Path, text: str, said: str) -> None:
    done = in_process(["capture", text, "--out", str(tmp_path / "out")])
    assert done.code == 2
    assert said in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_by_this_name", "running it raised ModuleNotFoundError: No module named 'nothing_by_this"),
        ("raise SystemExit(3)", "running it raised SystemExit: 3"),
        ("def make():\n    raise SystemExit(3)", "make: the call () raised SystemExit: 3"),
        ("", "unknown function of {script} 'make'. Known: none"),
    ],
)
def test_a_script_that_fails(text: str, said: str, tmp_path: Path) -> None:
    script = tmp_path / "broken_training.py"
    script.write_text(text)
    done = in_process(["capture", f"{script}:make", "--out", str(tmp_path / "out")])
    assert done.code == 2
    assert said.format(script=script) in done.err


def test_a_name_that_another_module_has(tmp_path: Path) -> None:
    import random

    (tmp_path / "random.py").write_text(SCRIPT)
    done = in_process(["capture", f"{tmp_path / 'random.py'}:make", "--out", str(tmp_path / "out")])
    assert done.code == 0
    import random as still

    assert still is random


def test_what_is_there_is_not_overwritten(script: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    done = in_process(["capture", f"{script}:make", "--out", str(tmp_path / "out")])
    assert (done.code, done.err.endswith("it is there and no captured step; choose another name\n")) == (2, True)


def test_a_capture_of_another_model_is_not_replaced(script: Path, tmp_path: Path) -> None:
    """One of the same model is, of one setting or of several."""
    script.write_text(SCRIPT + "\ndef other(batch=4):\n    return make()[0], nn.Linear(8, 8), make()[2]\n")
    for name, *options in (["one"], ["several", "--vary", "batch=2"]):
        out = tmp_path / name
        words = ["--out", str(out), *options]
        assert [in_process(["capture", f"{script}:make", *words]).code for _ in range(2)] == [0, 0]
        files = {path: path.read_bytes() for path in out.rglob("*.*")}
        done = in_process(["capture", f"{script}:other", *words])
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert f"{out}: found a capture of another model (small_training, digest " in done.err
        assert done.err.endswith("to be replaced; choose another name, or delete it first\n")
        assert {path: path.read_bytes() for path in out.rglob("*.*")} == files


def test_where_each_value_makes_another_model_captures_of_any_of_them_are_replaced(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.write_text(SCRIPT + "\ndef wide(width=4):\n    return make()[0], nn.Linear(8, width), make()[2]\n")

    def captured(_step: object, model: nn.Module, *_: object, **__: object) -> CapturedStep:
        header = replace(STEP.header, model_sha256=model_sha256(model), conditions={"notices": ""})
        return replace(STEP, header=header)

    monkeypatch.setattr("vdnnsim.pytorch.capture", captured)
    out = tmp_path / "widths"
    for values, code in (("2,3", 0), ("3,4", 0), ("2,3", 2)):
        assert in_process(["capture", f"{script}:wide", "--vary", f"width={values}", "--out", str(out)]).code == code


def test_each_notice_has_a_line(script: Path, tmp_path: Path) -> None:
    script.write_text(
        SCRIPT.replace("model(inputs)", "torch.utils.checkpoint.checkpoint(model, inputs, use_reentrant=True)")
    )
    script.write_text(script.read_text().replace("import torch\n", "import torch\nimport torch.utils.checkpoint\n", 1))
    script.write_text(script.read_text().replace("torch.randn(batch, 8)", "torch.randn(batch, 8, requires_grad=True)"))
    done = in_process(["capture", f"{script}:make", "--out", str(tmp_path / "out")])
    notices = [line.split(":")[0] for line in done.out.splitlines()[1:]]
    assert [one for one in notices if one not in ("  unsteady", "  disturbed")] == [
        "  checkpoint",
    ]  # others may be at work
    assert len(read_step(tmp_path / "out").header.conditions["notices"].splitlines()) == len(notices) + 1
