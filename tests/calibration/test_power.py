"""The board's power as nvidia-smi tells it; here a script of that name does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from vdnnsim.calibration.bench import open_bench
from vdnnsim.calibration.power import draw_of, measure_power

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
