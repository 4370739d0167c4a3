"""The board's power, read beside the work; here a function tells it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from vdnnsim.calibration.bench import open_bench
from vdnnsim.calibration.power import draw_of, measure_power
from vdnnsim.making import make_study
from vdnnsim.policies import make_policy

STORED = Path(__file__).parents[2] / "experiments" / "calibration" / "h200" / "power.json"
LARGEST_DIFFERENCE = 0.04
"""Of the estimate's ratio to the baseline from the measured one."""


def test_draw_is_the_average_of_readings() -> None:
    told = iter([1.0] + [100.0, 147.0, None] * 100)
    draw = draw_of(lambda: time.sleep(0.01), lambda: next(told), length_s=0.9, delay_s=0.1)
    assert draw is not None
    assert 100 < draw.average_w < 147
    assert 3 <= draw.readings <= 16


def test_without_power_nothing_is_told() -> None:
    with open_bench("cpu") as bench:
        assert measure_power(bench) is None
    assert draw_of(lambda: pytest.fail("worked"), lambda: None) is None


def test_estimate_against_what_the_board_drew() -> None:
    """Watts differ by network, since the profile has one figure for all kernels; what a policy draws against the
    baseline of the same network is what the estimate is for."""
    baseline = (0.0, 0.0)
    for case in json.loads(STORED.read_text())["cases"]:
        study = make_study(case["network"], batch=case["batch"], gpu="h200", math=case["math"])
        drawn = study.run(make_policy(case["policy"])).result.power
        assert drawn is not None
        estimate = drawn.average_w
        if case["policy"] == "baseline(p)":
            baseline = (estimate, case["measured_average_w"])
            continue
        ratios = (estimate / baseline[0], case["measured_average_w"] / baseline[1])
        assert abs(ratios[0] - ratios[1]) < LARGEST_DIFFERENCE, (case["network"], case["policy"], ratios)
