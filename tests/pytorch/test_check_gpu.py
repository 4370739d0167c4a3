"""The parts in which a GPU is checked: one that fails or hangs costs the others nothing."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import distributions, version
from pathlib import Path
from types import ModuleType

import pytest

from support.scripts import load_script
from vdnnsim import make_policy
from vdnnsim.pytorch.script import Script

FOLDER = Path(__file__).parents[2] / "experiments" / "pytorch"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    return load_script("benchmarks/check_gpu.py")


def test_parts_that_fail_or_hang_are_told_and_the_rest_runs(
    check: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hangs = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    parts = [
        check.Part("hangs", [sys.executable, "-c", hangs + "print('begun', flush=True); time.sleep(60)"], 1.5),
        check.Part("fails", [sys.executable, "-c", "raise SystemExit(3)"], 20),
        check.Part("works", [sys.executable, "-c", "import os; print('A', os.environ['A'])"], 20, {"A": "7"}),
    ]
    begun = time.monotonic()
    found = check.run_all(parts, tmp_path, 100.0)
    assert time.monotonic() - begun < 40
    assert [how.partition(",")[0].partition(" after")[0] for how in found.values()] == ["cut", "exit code 3", "done"]
    assert json.loads((tmp_path / "parts.json").read_text()) == found
    assert (tmp_path / "hangs.txt").read_text() in ("begun\n", "")
    assert "A 7" in capsys.readouterr().out


def test_a_checkout_tells_its_version(check: ModuleType, tmp_path: Path) -> None:
    (found,) = distributions(name="vdnnsim", path=[str(check.checkout_metadata(tmp_path))])
    assert found.version == version("vdnnsim")


def test_no_part_begins_without_time_for_it(check: ModuleType, tmp_path: Path) -> None:
    assert check.run_all([check.Part("a", ["none"], 20)], tmp_path, 5.0) == {"a": "no time left"}


def test_its_models_and_plans_are_there(check: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    import measure

    listed = measure.parts_of(FOLDER / "check.toml")
    for part in listed:
        assert Script(part.script).takes("batch")
        assert len({make_policy(policy).name for policy in part.policies}) == 4
    parts = check.parts_of("h100", Path("out"), FOLDER / "check.toml", [one.title for one in listed], None, 24)
    assert [part.name for part in parts][:2] == ["machine", "tests"]
    assert len(parts) == len(listed) + 5
    for part in parts:
        named = [argument for argument in part.command if argument.endswith(".py")]
        assert all((FOLDER.parents[1] / argument).is_file() for argument in named)
