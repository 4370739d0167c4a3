"""Plans measured in the user's own loop, on the CPU, beside what was predicted."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from support.cases import ROOMY_BYTES, gpu_of
from support.torch_models import attention, convolutions, mlp
from vdnnsim.calibration.records import Verdict
from vdnnsim.calibration.step_records import (
    Prediction,
    StepRecord,
    read_step_records,
    records_text,
    stored_for,
    summary_of,
    table_of,
)
from vdnnsim.captured import CapturedStep
from vdnnsim.errors import InvalidInput
from vdnnsim.pytorch import capture, measure, step_bench
from vdnnsim.pytorch.counting import OffloadWarning
from vdnnsim.pytorch.user_step import Step

GPU = replace(gpu_of(ROOMY_BYTES, 2, 2), name="cpu")
POLICIES = ["baseline", "vdnn-all", "offload(min_bytes=0, in_flight=none)"]
PREDICTED = Prediction("gpt", "h100", "all", "c" * 64, 80 * 10**9, 100, 98, 103, False, True, 7, 8, 9, 5)
RECORD = StepRecord(PREDICTED, 100, 0, 10, 7, 8, 9, "equal", 1.0, "here")


def test_memory_and_gradients_are_those_predicted() -> None:
    step, model, optimizer = convolutions()
    trace = capture(step, model, optimizer, name="small", smallest_bytes=0)
    before = [parameter.clone() for parameter in model.parameters()]
    found = measure(step, model, trace, gpu=GPU, policies=POLICIES, optimizer=optimizer, own_link=False)
    assert [record.policy for record in found.records][:2] == ["baseline", "vdnn-all"]
    assert [record.requested_off_bytes for record in found.records] == [0, 0, 0]
    assert [record.gradients for record in found.records] == ["equal"] * 3
    assert [record.as_planned for record in found.records] == [1.0] * 3
    assert all(map(torch.equal, model.parameters(), before))
    assert "peaks equal to the byte in 3 of 3" in str(found)


Small = tuple[Step, torch.nn.Module, CapturedStep]


@pytest.fixture(scope="module")
def small() -> Small:
    step, model, optimizer = mlp()
    return step, model, capture(step, model, optimizer, name="small", smallest_bytes=0)


def test_a_step_that_chance_decides_is_not_compared(small: Small) -> None:
    step, model, trace = small
    calls = count()
    handle = model.register_forward_hook(lambda *call: call[-1] + 1e-3 * next(calls))
    found = measure(step, model, trace, gpu=GPU, policies=["vdnn-all"], own_link=False)
    handle.remove()
    assert found.records[0].gradients == "cannot be told: the step without offload differs from itself"


class SavesMoreWhenDeterministic(torch.nn.Linear):
    """As attention does: with deterministic algorithms another one is at work, which saves other tensors; without them
    it is not the same twice."""

    calls = count()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = super().forward(x)
        chance = 0.0 if torch.are_deterministic_algorithms_enabled() else 1e-3 * next(self.calls)
        return torch.tanh(x * 2.0) if not chance else x * torch.tensor(1.0 + chance)


def test_gradients_of_a_step_that_is_another_one_with_deterministic_algorithms_cannot_be_told() -> None:
    step, model, optimizer = mlp()
    model[0].__class__ = SavesMoreWhenDeterministic
    trace = capture(step, model, optimizer, name="small", smallest_bytes=0)
    with pytest.warns(OffloadWarning, match="not the plan's|another batch"):
        found = measure(step, model, trace, gpu=GPU, policies=["vdnn-all"], optimizer=optimizer, own_link=False)
    assert found.records[0].as_planned == 1.0
    assert found.records[0].gradients.startswith("cannot be told: with deterministic algorithms")


class FindsNoRoomWhenDeterministic(SavesMoreWhenDeterministic):
    """The same, and where hooks are set the other one finds no room."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hooks = torch._C._autograd._top_saved_tensors_default_hooks(True)
        if hooks and torch.are_deterministic_algorithms_enabled():
            raise MemoryError
        return super().forward(x)


def test_a_step_that_fits_does_so_where_the_one_that_is_compared_does_not() -> None:
    step, model, optimizer = mlp()
    model[0].__class__ = FindsNoRoomWhenDeterministic
    trace = capture(step, model, optimizer, name="small", smallest_bytes=0)
    found = measure(step, model, trace, gpu=GPU, policies=["vdnn-all"], capacity="1GB", own_link=False)
    assert found.records[0].step_ns is not None
    assert found.records[0].gradients == "cannot be told: the step whose gradients are compared finds no room"


def test_steps_beside_a_slow_link_are_not_quiet(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is slow behind the first step; then it is at full speed."""
    looks = iter([True, False])
    monkeypatch.setattr(step_bench, "link_looks", lambda _: nullcontext(lambda: next(looks, True)))
    step, model, trace = small
    (record,) = measure(step, model, trace, gpu=GPU, policies=["vdnn-all"], own_link=False).records
    assert record.quiet == record.steps - 2


def test_a_trace_of_another_model_is_refused() -> None:
    step, model, optimizer = convolutions()
    trace = capture(step, model, optimizer, name="small", smallest_bytes=0)
    other, another, _ = attention()
    with pytest.raises(InvalidInput, match=r"plan of small, model: found parameter .* bytes, exp"):
        measure(other, another, trace, gpu=GPU, own_link=False)


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (RECORD, Verdict.AGREES),
        (replace(RECORD, step_ns=90), Verdict.DISAGREES),
        (replace(RECORD, spread_ppm=20_000), Verdict.CANNOT_BE_TOLD),
        (replace(RECORD, predicted=replace(PREDICTED, host_bound=True), step_ns=103), Verdict.AGREES),
        (replace(RECORD, predicted=replace(PREDICTED, host_bound=True), step_ns=104), Verdict.DISAGREES),
        (replace(RECORD, as_planned=0.9), Verdict.DISAGREES),
        (replace(RECORD, quiet=3), Verdict.AGREES),
        (replace(RECORD, quiet=2), Verdict.CANNOT_BE_TOLD),
        (replace(RECORD, predicted=replace(PREDICTED, offloaded_bytes=0), quiet=2), Verdict.AGREES),
        (replace(RECORD, step_ns=None), Verdict.DISAGREES),
        (replace(RECORD, predicted=replace(PREDICTED, fits=False), step_ns=None), Verdict.AGREES),
        (replace(RECORD, predicted=replace(PREDICTED, fits=False)), Verdict.DISAGREES),
    ],
)
def test_what_a_case_says(record: StepRecord, verdict: Verdict) -> None:
    assert record.verdict is verdict


def test_records_are_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    records = (RECORD, replace(RECORD, step_ns=None, requested_bytes=None, allocated_bytes=None, reserved_bytes=None))
    assert read_step_records(path) == ()
    path.write_text(records_text(records, {"date": "today"}), encoding="utf-8")
    assert read_step_records(path) == records
    path.write_text('{"cases": [{}]}', encoding="utf-8")
    with pytest.raises(InvalidInput, match="'calibrate pytorch' wrote"):
        read_step_records(path)


def test_a_stored_case_is_of_this_machine_and_step() -> None:
    assert stored_for([RECORD], PREDICTED, "here") is RECORD
    assert stored_for([RECORD], PREDICTED, "there") is None
    assert stored_for([RECORD], replace(PREDICTED, order_sha256="d" * 64), "here") is None
    assert stored_for([RECORD], replace(PREDICTED, capacity_bytes=1), "here") is None


def test_the_table_shows_every_case() -> None:
    text = table_of([RECORD, replace(RECORD, step_ns=None, requested_bytes=None)], {"date": "today"})
    assert "2 cases. 1 by GPU or link: 1 steady and within 1 %, median error 0.00 %" in text
    assert "out of memory" in text
    assert text.count("\n| gpt |") == 2


NOISY = replace(RECORD, spread_ppm=20_000, step_ns=50)
OUT_OF_MEMORY = replace(RECORD, predicted=replace(PREDICTED, fits=False), step_ns=None, gradients="out of memory")


@pytest.mark.parametrize(
    ("records", "begin"),
    [
        (
            [RECORD, NOISY],
            "This machine is too disturbed to tell: 1 of 2 cases cannot be told here. 2 cases. 2 by GPU or link: 1 "
            "steady and within 1 %, median error 50.00 %, largest 100.00 %. ",
        ),
        ([RECORD] * 9 + [NOISY], "10 cases. 10 by GPU or link: 9 steady and within 1 %, median error"),
        ([OUT_OF_MEMORY], "1 case. 1 out of memory, predicted in 1"),
        ([replace(RECORD, step_ns=None)], "1 case. 1 out of memory, predicted in 0. fits or not: right in 0 of 1"),
    ],
)
def test_the_summary_says_what_nobody_can_tell(records: list[StepRecord], begin: str) -> None:
    assert summary_of(records).startswith(begin)
    assert ("gradients" in summary_of(records)) == (records[0] is RECORD)
