"""The list of models and plans that GPUs are measured with: its parts, and what is done when a part fails or is cut."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from support.cpu_profile import PROFILE
from support.examples import thorough
from support.scripts import ROOT, load_script
from vdnnsim import make_policy, read_step
from vdnnsim.calibration.step_records import read_step_records
from vdnnsim.pytorch.script import Script

FOLDER = ROOT / "experiments" / "pytorch"


@pytest.fixture(scope="module")
def measure() -> ModuleType:
    return load_script("experiments/pytorch/measure.py")


def test_the_list_names_what_there_is(measure: ModuleType) -> None:
    parts = measure.parts_of(FOLDER / "cases.toml")
    assert len({part.title for part in parts}) == len(parts) == 8 * 3
    for part in parts:
        assert len({make_policy(policy).name for policy in part.policies}) == len(part.policies)
    for script in {part.script for part in parts if "transformers" not in part.script}:
        assert Script(script).takes("batch")


def test_models_come_before_those_that_are_short_of_memory(measure: ModuleType) -> None:
    shares = [part.share for part in measure.parts_of(FOLDER / "cases.toml")]
    assert shares == [None] * 8 + [0.9] * 8 + [0.7] * 8


def test_what_is_done_is_not_begun_again_and_the_rest_is(measure: ModuleType, tmp_path: Path) -> None:
    parts = [measure.Part(name, "x.py:make", ()) for name in ("a", "b", "c")]
    begun: list[str] = []

    def run(part: object, seconds: float) -> str:  # noqa: ARG001
        begun.append(part.name)  # type: ignore[attr-defined]
        return "failed" if part.name == "b" and len(begun) < 4 else measure.DONE  # type: ignore[attr-defined]

    assert measure.measure_all(parts, tmp_path, 1000.0, run) == {"a": "done", "b": "failed", "c": "done"}
    assert measure.measure_all(parts, tmp_path, 1000.0, run)["b"] == "done"
    assert begun == ["a", "b", "c", "b"]
    assert set(json.loads((tmp_path / measure.PARTS).read_text()).values()) == {"done"}


def test_no_part_begins_without_time_for_it(measure: ModuleType, tmp_path: Path) -> None:
    assert measure.measure_all([measure.Part("a", "x.py:make", ())], tmp_path, 5.0, pytest.fail) == {}


def test_a_part_that_runs_out_of_time_is_ended(measure: ModuleType, tmp_path: Path) -> None:
    run = measure.in_a_process(["--gpu", "h100", "--out", str(tmp_path)])
    assert run(measure.Part("unet_b32", "x.py:make", ()), 0.01).startswith("cut")


@thorough
def test_a_tiny_model_by_two_plans_and_short_of_memory(measure: ModuleType, tmp_path: Path) -> None:
    cases, out, profile = tmp_path / "cases.toml", tmp_path / "out", tmp_path / "cpu.toml"
    script = FOLDER / "models.py"
    cases.write_text(
        'policies = ["baseline", "offload(which=half, min_bytes=1KiB)"]\n'
        f'[[model]]\nname = "unet"\nscript = "{script}:make_tiny_unet"\n'
        '[capped]\nshares = [0.8]\npolicies = ["vdnn-dyn"]\n'
    )
    profile.write_text(PROFILE)
    arguments = ["--cases", str(cases), "--gpu", str(profile), "--out", str(out), "--device", "cpu"]
    assert [measure.main([*arguments, "--part", title]) for title in ("unet", "unet within 0.8")] == [0, 0]
    records = read_step_records(out / "results.json")
    assert sorted((one.policy, one.gradients, one.requested_off_bytes) for one in records) == [
        ("baseline", "equal", 0),
        ("offload(which=half, min_bytes=1KiB)", "equal", 0),
        ("vdnn-dyn", "equal", 0),
    ]
    peak_bytes = read_step(out / "unet").seen.peak_reserved_bytes
    assert {one.predicted.capacity_bytes for one in records} == {10**9, round(0.8 * peak_bytes)}


def test_a_model_that_cannot_be_made_is_told(
    measure: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases.toml"
    cases.write_text('policies = ["baseline"]\n[[model]]\nname = "gone"\nscript = "gone.py:make"\n')
    assert measure.main(["--cases", str(cases), "--gpu", "h100", "--out", str(tmp_path), "--part", "gone"]) == 2
    assert "gone.py: found no such file" in capsys.readouterr().err
