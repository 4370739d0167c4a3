"""`vdnnsim calibrate pytorch`: a script's training as a folder of results, which goes on where it was interrupted."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from support.commands import Done, in_process
from support.cpu_profile import PROFILE
from support.scripts import load_script
from tests.support.legible import assert_legible, figure_of
from vdnnsim import make_policy
from vdnnsim.calibration.records import Verdict
from vdnnsim.calibration.step_records import Prediction, StepRecord, read_step_records
from vdnnsim.captured import read_step
from vdnnsim.figures.calibration import compose_steps, steps_figure

_CASES = tomllib.loads((Path(__file__).parents[2] / "experiments/pytorch/cases.toml").read_text(encoding="utf-8"))
LISTED = list(dict.fromkeys(make_policy(one).name for one in (*_CASES["policies"], *_CASES["capped"]["policies"])))
"""The policies that a GPU is measured by."""
SCRIPT = """
import torch
from torch import nn

def make(width=64, device="cpu"):
    model = nn.Sequential(nn.Linear(32, width), nn.ReLU(), nn.Linear(width, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs, targets = torch.randn(16, 32), torch.randint(0, 10, (16,))

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()

    return step, model, optimizer

def other():
    return make(width=32)

def broken():
    step, model, optimizer = make()
    calls = iter(range(60))

    def sometimes():
        if next(calls) > 50:
            raise RuntimeError("the data has ended")
        step()

    return sometimes, model, optimizer
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    (folder / "small_train.py").write_text(SCRIPT, encoding="utf-8")
    (folder / "cpu.toml").write_text(PROFILE, encoding="utf-8")
    return folder


def calibrate(folder: Path, out: str, *more: str, function: str = "make") -> Done:
    script = f"{folder / 'small_train.py'}:{function}"
    words = ["--gpu", str(folder / "cpu.toml"), "--out", str(folder / out), "--name", "small", "--device", "cpu", *more]
    return in_process(["calibrate", "pytorch", script, *words])


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    done = calibrate(folder, "made", "--policies", "baseline,vdnn-all")
    assert (done.code, "2 cases" in done.out) == (0, True)
    return folder / "made"


def test_a_report_is_made_and_goes_on(folder: Path, made: Path) -> None:
    out = made
    first = read_step_records(out / "results.json")
    assert [(record.policy, record.gradients, record.requested_off_bytes) for record in first] == [
        ("baseline", "equal", 0),
        ("vdnn-all", "equal", 0),
    ]
    assert "peaks equal to the byte in 2 of 2" in (out / "table.md").read_text(encoding="utf-8")
    assert (out / "errors.png").stat().st_size > 10_000
    assert read_step(out / "small").header.setting == {"width": 64}
    again = calibrate(folder, "made", "--policies", "vdnn-all,oracle,baseline")
    assert "capture" not in again.err
    found = read_step_records(out / "results.json")
    assert [record.policy for record in found] == ["vdnn-all", "oracle", "baseline"]
    assert (found[0], found[2]) == (first[1], first[0])


def test_a_folder_of_another_model_is_refused(folder: Path, made: Path) -> None:
    before = (made / "results.json").read_bytes()
    done = calibrate(folder, "made", "--policies", "baseline", function="other")
    assert (done.code, "give an empty folder to measure afresh" in done.err) == (2, True)
    assert (made / "results.json").read_bytes() == before


def test_a_step_that_raises_later_fails_its_policy(folder: Path) -> None:
    done = calibrate(folder, "failing", "--policies", "baseline", function="broken")
    assert done.code == 1
    assert "failed: " in done.err
    assert "the data has ended" in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--policies", "vdnn-none"], "vdnn-none"),
        (["--capacity", "much"], "--capacity"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(folder: Path, words: list[str], said: str) -> None:
    done = calibrate(folder, "never", *words)
    assert (done.code, said in done.err, (folder / "never").exists()) == (2, True, False)


def test_other_ways_of_offloading_are_set_beside_ours(folder: Path) -> None:
    ways = load_script("benchmarks/offload_ways.py")
    out = folder / "ways.md"
    words = ["--gpu", str(folder / "cpu.toml"), "--device", "cpu", "--policies", "vdnn-all", "--out", str(out)]
    ways.main([f"{folder / 'small_train.py'}:make", *words])
    rows = [line.split(" | ") for line in out.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    names = ["nothing leaves", "vdnnsim vdnn-all", "save_on_cpu(pin_memory=True)"]
    assert [row[0].removeprefix("| ") for row in rows[1:]][:3] == names
    assert [row[-1] for row in rows[1:]][:3] == ["equal |"] * 3
    assert [row[4] == row[8] for row in rows[2:4]] == [True] * 2  # the peak as counted, and simulated
    assert "* torchtune OffloadActivations did not run.\n" in out.read_text(encoding="utf-8")


def test_what_nobody_caps_is_counted(folder: Path) -> None:
    """PyTorch on a CPU takes what it is asked for: whether a plan fits is told by its peak."""
    done = calibrate(folder, "made", "--policies", "baseline")
    peak_bytes = read_step_records(folder / "made" / "results.json")[0].requested_bytes
    assert peak_bytes is not None
    done = calibrate(folder, "capped", "--policies", "baseline", "--capacity", f"{peak_bytes - 1} B")
    assert done.code == 0
    (found,) = read_step_records(folder / "capped" / "results.json")
    assert (found.step_ns, found.gradients, found.verdict) == (None, "out of memory", Verdict.AGREES)


def record_of(model: str, policy: str, error: float, reserved_bytes: int = 10**9) -> StepRecord:
    step_ns = round(10**8 * (1 + error))
    predicted = Prediction(
        model, "h100", policy, "", 10**10, step_ns, 1, 2, error < -0.05, True, 7, 8, reserved_bytes, 5
    )
    return StepRecord(predicted, 10**8, 100, 10, 7, 8, reserved_bytes, "equal", 1.0)


@pytest.mark.parametrize("reserved_bytes", [10**6, 16 * 10**9])
@pytest.mark.parametrize("policies", [["a", "b"], LISTED], ids=["two", "those of the list"])
def test_the_figure_can_be_read(policies: list[str], reserved_bytes: int) -> None:
    models = ["gpt", "vit", *(f"model {number}" for number in range(len(policies) // 2))]
    cases = [(model, policy, -0.1 * (model == "vit")) for model in models for policy in policies]
    records = [record_of(*case, reserved_bytes) for case in cases]
    assert_legible(figure_of(lambda: steps_figure(records, Path("errors.png"))))


def test_policies_that_differ_in_when_have_one_colour() -> None:
    figure = compose_steps([record_of("gpt", policy, 0.0) for policy in LISTED], "title")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        *["baseline", "offload all", "offload gemm", "offload half", "offload quarter", "vdnn++", "vdnn-all"],
        *["vdnn-dyn", "within 1 %"],
    ]
