"""The board's power as nvidia-smi tells it; here a script of that name does."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from vdnnsim.calibration.bench import open_bench
from vdnnsim.calibration.power import draw_of, measure_power
from vdnnsim.policies import make_policy
from vdnnsim.reproduce.power import power_use
from vdnnsim.study import make_study

STORED = Path(__file__).parents[2] / "experiments" / "calibration" / "h200" / "power.json"
LARGEST_DIFFERENCE = 0.04
"""Of the estimate's ratio to the baseline from the measured one."""

NVIDIA_SMI = """#!/bin/sh
case "$*" in
  *power.draw.instant*) echo "[N/A]" ;;
  *--loop-ms*) while :; do echo "%s"; sleep 0.02; done ;;
  *) echo "%s" ;;
esac
"""


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    script = folder / "nvidia-smi"
    script.write_text(NVIDIA_SMI % (line, line))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_draw_is_the_average_of_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "123.5")
    draw = draw_of(lambda: time.sleep(0.01), length_s=0.5, delay_s=0.1)
    assert draw is not None
    assert draw.average_w == 123.5
    assert 3 <= draw.readings <= 40


def test_without_power_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(tmp_path, monkeypatch, "[N/A]")
    with open_bench("cpu") as bench:
        assert measure_power(bench) is None
    (tmp_path / "nvidia-smi").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert draw_of(lambda: None) is None


def test_estimate_against_what_the_board_drew() -> None:
    """Watts differ by network, since the profile has one figure for all kernels; what a policy draws against the
    baseline of the same network is what the estimate is for."""
    baseline = (0.0, 0.0)
    for case in json.loads(STORED.read_text())["cases"]:
        study = make_study(case["network"], batch=case["batch"], gpu="h200", math=case["math"])
        estimate = power_use(study.run(make_policy(case["policy"])).timeline, study.gpu).average_w
        if case["policy"] == "baseline(p)":
            baseline = (estimate, case["measured_average_w"])
            continue
        ratios = (estimate / baseline[0], case["measured_average_w"] / baseline[1])
        assert abs(ratios[0] - ratios[1]) < LARGEST_DIFFERENCE, (case["network"], case["policy"], ratios)
