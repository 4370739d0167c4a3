"""What was measured on an H100 and is shipped: predicted again today, some cases; and how near all of them came.

`python benchmarks/measured_again.py` predicts all.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from vdnnsim.calibration.step_records import EQUAL, StepRecord, table_of
from vdnnsim.captured.shipped import shipped_steps

ROOT = Path(__file__).parents[2]
CHEAP = ("unet_b32", "gpt_124M_b16")


@pytest.fixture(scope="module")
def again() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measured_again", ROOT / "benchmarks" / "measured_again.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def records(again: ModuleType) -> list[StepRecord]:
    return list(again.read_step_records(again.RESULTS))


def chance(record: StepRecord) -> str:
    return hashlib.sha256(f"{record.group} {record.policy}".encode()).hexdigest()


@pytest.mark.parametrize("model", CHEAP)
def test_a_case_is_predicted_as_it_was(again: ModuleType, records: list[StepRecord], model: str) -> None:
    """The plan that chance picks of those by which something leaves."""
    record = min((one for one in records if one.group == model and one.held_out), key=chance)
    assert again.predicted_again(record) == record.predicted


def test_the_cases_are_of_the_steps_that_are_shipped(records: list[StepRecord]) -> None:
    assert {one.group for one in records} == set(shipped_steps())
    assert len({(one.group, one.policy) for one in records}) == len(records) == 103


def test_how_near_they_came(records: list[StepRecord]) -> None:
    """As docs/pytorch.md says."""
    other = [one for one in records if not one.predicted.host_bound]
    host = [one for one in records if one.predicted.host_bound]
    reserved = [one.predicted.reserved_bytes / (one.reserved_bytes or 1) for one in records]
    assert all(one.requested_off_bytes == 0 and one.as_planned == 1 for one in records)
    assert sum(one.gradients == EQUAL for one in records) == 92
    assert (len(other), sum(abs(one.error) <= 0.01 for one in other)) == (80, 70)
    assert sorted(abs(one.error) for one in other)[40] < 0.004
    assert max(abs(one.error) for one in other) < 0.0172
    assert (len(host), sum(one.inside is True for one in host)) == (23, 23)
    assert sum(ratio == 1 for ratio in reserved) == 96
    assert sum(abs(ratio - 1) <= 0.02 for ratio in reserved) == 98


def test_the_table_is_that_of_the_records(again: ModuleType, records: list[StepRecord]) -> None:
    conditions = again.conditions()
    assert (again.HERE / "table.md").read_text(encoding="utf-8") == table_of(records, conditions)
