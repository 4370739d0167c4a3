"""What was measured on an H100 and an H200 and is shipped: predicted again today, some cases; and how near all came.

`python benchmarks/measured_again.py` predicts all.
"""

from __future__ import annotations

import hashlib
from types import ModuleType
from typing import NamedTuple

import pytest

from support.scripts import load_script
from vdnnsim import compare
from vdnnsim.calibration.step_records import EQUAL, StepRecord, Verdict, table_of
from vdnnsim.captured.shipped import folder_of, shipped_steps
from vdnnsim.errors import InvalidInput


class Held(NamedTuple):
    """Of a GPU: how many cases there are, and how many that kernels or the link bind; of these how many are within 1 %,
    the most that half of them are off, and the most that any steady one is; how many the host binds, and how many of
    them lie in their ranges; how many have equal gradients, how many equal reserved bytes, how many within 2 %."""

    cases: int
    bound: int
    near: int
    median: float
    largest: float
    host: int
    inside: int
    gradients: int
    reserved: int
    nearly_reserved: int


HELD = {
    "h100": Held(103, 80, 70, 0.004, 0.0172, 23, 23, 92, 96, 98),
    "h200": Held(102, 85, 82, 0.0024, 0.027, 17, 15, 91, 96, 98),
}
"""As docs/pytorch.md says."""
CHEAP = [("h100", "unet_b32"), ("h100", "gpt_124M_b16"), ("h200", "unet_b32")]


@pytest.fixture(scope="module")
def again() -> ModuleType:
    return load_script("benchmarks/measured_again.py")


@pytest.fixture(scope="module")
def records(again: ModuleType) -> dict[str, list[StepRecord]]:
    return {gpu: list(again.read_step_records(again.results_of(gpu))) for gpu in HELD}


def chance(record: StepRecord) -> str:
    return hashlib.sha256(f"{record.group} {record.policy}".encode()).hexdigest()


@pytest.mark.parametrize(("gpu", "model"), CHEAP)
def test_a_case_is_predicted_as_it_was(
    again: ModuleType, records: dict[str, list[StepRecord]], gpu: str, model: str
) -> None:
    """The plan that chance picks of those by which something leaves."""
    record = min((one for one in records[gpu] if one.group == model and one.held_out), key=chance)
    assert again.predicted_again(record) == record.predicted


def test_the_cases_are_of_the_steps_that_are_shipped(again: ModuleType, records: dict[str, list[StepRecord]]) -> None:
    assert tuple(HELD) == again.GPUS
    shipped = {(folder.parents[1].name, folder.name) for folder in shipped_steps().values()}
    assert {(gpu, one.group) for gpu, own in records.items() for one in own} == shipped
    assert all(one.gpu == gpu for gpu, own in records.items() for one in own)


def test_a_step_of_another_gpu_goes_by_both_names() -> None:
    first, other = folder_of("unet_b32"), folder_of("h200/unet_b32")
    assert first is not None
    assert other is not None
    assert (first.parents[1].name, other.parents[1].name, other.name) == ("h100", "h200", "unet_b32")
    with pytest.raises(InvalidInput, match=r"captured on 'h100'.*'h200/unet_b32' is of that one"):
        compare("unet_b32", gpu="h200")
    with pytest.raises(InvalidInput, match=r"captured on 'h200'.*'unet_b32' is of that one"):
        compare("h200/unet_b32", gpu="h100")


@pytest.mark.parametrize("gpu", HELD)
def test_how_near_they_came(records: dict[str, list[StepRecord]], gpu: str) -> None:
    held, own = HELD[gpu], records[gpu]
    other = [one for one in own if not one.predicted.host_bound]
    host = [one for one in own if one.predicted.host_bound]
    reserved = [one.predicted.reserved_bytes / (one.reserved_bytes or 1) for one in own]
    assert all(one.requested_off_bytes == 0 and one.as_planned == 1 for one in own)
    assert len({(one.group, one.policy) for one in own}) == len(own) == held.cases
    assert sum(one.gradients == EQUAL for one in own) == held.gradients
    assert (len(other), sum(abs(one.error) <= 0.01 for one in other)) == (held.bound, held.near)
    assert sorted(abs(one.error) for one in other)[len(other) // 2] < held.median
    assert max(abs(one.error) for one in other if one.verdict is not Verdict.CANNOT_BE_TOLD) < held.largest
    assert (len(host), sum(one.inside is True for one in host)) == (held.host, held.inside)
    assert sum(ratio == 1 for ratio in reserved) == held.reserved
    assert sum(abs(ratio - 1) <= 0.02 for ratio in reserved) == held.nearly_reserved


@pytest.mark.parametrize("gpu", HELD)
def test_the_table_is_that_of_the_records(again: ModuleType, records: dict[str, list[StepRecord]], gpu: str) -> None:
    table = (again.folder_of(gpu) / "table.md").read_text(encoding="utf-8")
    assert table == table_of(records[gpu], again.conditions(gpu))
