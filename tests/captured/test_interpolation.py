"""Captured steps at batches that nobody captured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captured.batches import of_batch
from captured.steps import MIB
from vdnnsim.captured import CapturedStep, trace_of_step, write_steps
from vdnnsim.captured.captures import captures_of
from vdnnsim.captured.interpolation import INTERPOLATED, interpolate_step, leave_one_out_errors
from vdnnsim.errors import InvalidInput
from vdnnsim.trace import Provenance

STEPS = {batch: of_batch(batch) for batch in (4, 8, 16)}


@given(st.integers(5, 15))
def test_what_is_linear_in_the_batch_is_met_exactly(batch: int) -> None:
    made, true = interpolate_step("batch", STEPS, batch), of_batch(batch)
    assert made.kernels == true.kernels
    assert [block.size_bytes for block in made.blocks] == [block.size_bytes for block in true.blocks]
    assert made.saved == true.saved
    assert made.seen == true.seen
    assert made.header.setting == {"batch": batch}
    assert (made.deeds, made.segments) == (true.deeds, ())


def test_it_says_that_it_is_modelled_and_is_another_step_for_plans() -> None:
    made = interpolate_step("batch", STEPS, 6)
    told = (
        "modelled: linear in batch between 4 and 8; leave-one-out error of kernel times 0.0 %, of blocks' sizes 0.0 %."
    )
    assert made.header.conditions == {INTERPOLATED: told}
    trace = trace_of_step(made)
    assert {row.provenance for row in trace.rows} == {Provenance.MODELLED}
    assert trace.header.sources == {INTERPOLATED: told}
    assert made.header.order_sha256 != STEPS[4].header.order_sha256
    assert made.header.model_sha256 == STEPS[4].header.model_sha256


def test_the_error_is_the_largest_of_those_left_out() -> None:
    """Kernels of 20 us + 20 us n + 1 us n^2: between 4 and 16 the line at 8 is 1 us (4 * 8) too high."""
    bent = {batch: of_batch(batch, bend_ns=1_000) for batch in (4, 8, 16)}
    errors = leave_one_out_errors(bent)
    assert errors.kernels_ppm == 32_000 * 1_000_000 // (20_000 + 160_000 + 64_000)
    assert errors.blocks_ppm == 0
    assert str(errors) == "leave-one-out error of kernel times 13.1 %, of blocks' sizes 0.0 %"


def test_two_batches_leave_none_out() -> None:
    errors = leave_one_out_errors({4: STEPS[4], 8: STEPS[8]})
    assert str(errors) == "leave-one-out error of kernel times unknown, of blocks' sizes unknown"


def other_node(step: CapturedStep) -> CapturedStep:
    return replace(step, saved=(step.saved[0]._replace(node="MmBackward0"), *step.saved[1:]))


def without_the_last_kernel(step: CapturedStep) -> CapturedStep:
    return replace(step, kernels=step.kernels[:-1], deeds=step.deeds[:-1])


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (other_node, "saved tensor 0 is 6 AddmmBackward0 mat1 layers.0 float32 1 in one, "
         "6 MmBackward0 mat1 layers.0 float32 1 in the other"),
        (without_the_last_kernel, "kernel of operator 8 is 8 in one, none in the other"),
    ],
)  # fmt: skip
def test_steps_that_do_something_else_are_not_mixed(changed: object, difference: str) -> None:
    assert callable(changed)
    with pytest.raises(InvalidInput) as error:
        interpolate_step("batch", {4: STEPS[4], 8: changed(STEPS[8])}, 6)
    assert str(error.value) == (
        f"batch: found 6; the captures of batch 4 and 8 differ in what they do: {difference}; nothing can be "
        "interpolated between them: capture batch 6"
    )


def test_a_folder_of_captures_is_asked_by_batch(tmp_path: Path) -> None:
    folder = tmp_path / "varied"
    write_steps("batch", STEPS, folder)
    captures = captures_of(folder)
    assert captures.values == [4, 8, 16]
    assert captures.at(8).step == STEPS[8]
    assert captures.at(8).batches == "8"
    found = captures.at(12)
    assert (found.batches, found.step.blocks[9].size_bytes) == ("8..16", 96 * MIB)
    for batch, message in (
        (None, f"{folder}: found no batch, expected one of 4, 8, 16, or between: --batch"),
        (32, f"{folder}: found batch 32, expected one from 4 to 16, the captured ones; beyond them nothing is "
         "extrapolated"),
    ):  # fmt: skip
        with pytest.raises(InvalidInput) as error:
            captures.at(batch)
        assert str(error.value) == message


def test_captures_that_vary_something_else_are_told(tmp_path: Path) -> None:
    write_steps("width", {2: STEPS[4], 3: STEPS[8]}, tmp_path / "varied")
    with pytest.raises(InvalidInput, match=r"found captures that vary width, expected batch; name the folder of one"):
        captures_of(tmp_path / "varied")


def test_a_step_that_does_not_say_its_batch() -> None:
    silent = replace(STEPS[4], header=replace(STEPS[4].header, setting={}))
    captures = captures_of(silent)
    assert captures.at(None).step is silent
    with pytest.raises(InvalidInput, match="found one captured step, which does not say its batch; expected captures"):
        captures.at(4)
