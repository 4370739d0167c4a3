"""Inverse questions: the answer holds, the next step does not, and every point tried is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.sweeps import run
from vdnnsim import compare, make_study
from vdnnsim.catalog import data_directory
from vdnnsim.cli.solve import memory_words
from vdnnsim.errors import InvalidInput, MissingTrace
from vdnnsim.sweep.solve import ROOMY_BYTES, Setting, largest_batch, smallest_capacity, smallest_link
from vdnnsim.trace import read_header

TITAN = "titan-x-maxwell"


def test_the_smallest_capacity_trains_and_a_megabyte_less_does_not() -> None:
    answer = smallest_capacity(Setting("alexnet", TITAN).study_of(128), "vdnn-conv(p)")
    assert answer.value is not None
    for capacity, trains in ((answer.value, True), (answer.value - 10**6, False)):
        result = compare("alexnet", batch=128, gpu=TITAN, policies=["vdnn-conv(p)"], capacity=capacity).results[0]
        assert result.trainable is trains
    values = [tried.value for tried in answer.tried]
    assert values == sorted(set(values))
    assert {tried.value: tried.good for tried in answer.tried}[answer.value]
    assert all(tried.why for tried in answer.tried if not tried.good)
    assert {tried.performance for tried in answer.tried} == {result.performance}


def test_a_loss_asks_for_more_capacity() -> None:
    """vdnn-dyn trains in little memory, and is as fast as the oracle in more."""
    lean = smallest_capacity(Setting("vgg16", TITAN).study_of(128), "vdnn-dyn")
    fast = smallest_capacity(Setting("vgg16", TITAN).study_of(128), "vdnn-dyn", loss=0.02)
    assert lean.value is not None
    assert fast.value is not None
    assert lean.value < fast.value
    assert any(tried.why == "loses too much" for tried in fast.tried)


def test_the_slowest_link_is_within_the_loss_and_a_step_less_is_not() -> None:
    answer = smallest_link(Setting("vgg16", TITAN).study_of(64), "vdnn-all(p)", loss=0.05)
    assert answer.value is not None
    for link, close in ((answer.value, True), (answer.value - 10**8, False)):
        result = compare("vgg16", batch=64, gpu=TITAN, policies=["vdnn-all(p)"], link_bandwidth=link).results[0]
        assert (result.performance >= 0.95) is close
        assert {tried.value: tried.performance for tried in answer.tried}[link] == result.performance


def test_questions_without_an_answer_say_why() -> None:
    slow = smallest_link(Setting("vgg16", TITAN).study_of(64), "vdnn-all(m)", loss=0.05)
    assert (slow.value, slow.note) == (None, "not even behind a link as fast as the device memory")
    any_link = smallest_link(Setting("alexnet", TITAN).study_of(128), "baseline(p)", loss=0.05)
    assert (any_link.value, any_link.note) == (10**8, "the slowest that is tried")
    none = smallest_capacity(Setting("vgg16", TITAN).study_of(64), "vdnn-all(m)", loss=0.05)
    assert (none.value, none.note) == (None, "not even with more memory than it can use")
    small = largest_batch("vgg16", gpu=TITAN, policy="vdnn-dyn", capacity=10**9)
    assert small.value is None
    assert "not even batch 64" in small.note


def test_the_largest_batch_is_interpolated_and_never_extrapolated() -> None:
    answer = largest_batch("vgg16", gpu=TITAN, policy="baseline(m)")
    timed = sorted(read_header(path).batch for path in (data_directory("traces") / TITAN).glob("vgg16_b*_fp32.csv"))
    assert answer.value is not None
    assert timed[0] < answer.value < timed[-1]
    outcomes = {tried.value: tried.good for tried in answer.tried}
    assert outcomes[answer.value]
    assert not outcomes[answer.value + 1]
    assert "leave-one-out error" in answer.note
    roomy = largest_batch("vgg16", gpu=TITAN, policy="vdnn-dyn", capacity=10**12)
    assert roomy.value == timed[-1]
    assert "nothing is extrapolated" in roomy.note


def test_no_batch_that_nobody_asked_for_is_spoken_of() -> None:
    with pytest.raises(MissingTrace) as error:
        largest_batch("resnet50", gpu=TITAN, policy="oracle")
    said = str(error.value)
    assert said.startswith(
        f"no trace for resnet50 of any batch on {TITAN}, fp32. There are:\n  resnet50 batch 64 on h100"
    )
    assert "--batch N " in said


def test_a_link_as_fast_as_any_memory_is_tried() -> None:
    """The points of the H200's link lie so close that a fast one's would take the same nanosecond."""
    answer = smallest_link(make_study("vgg16", batch=256, gpu="h200", math="tf32"), "vdnn-all(m)", loss=0.05)
    assert (answer.value, answer.note) == (None, "not even behind a link as fast as the device memory")


def test_what_there_is_not() -> None:
    with pytest.raises(MissingTrace):
        largest_batch("squeezenet", gpu=TITAN, policy="oracle")
    with pytest.raises(MissingTrace, match="outside the timed batches"):
        smallest_capacity(Setting("vgg16", TITAN).study_of(4096), "oracle")
    with pytest.raises(InvalidInput, match="unknown policy"):
        smallest_link(Setting("vgg16", TITAN).study_of(64), "vdnn")


def test_the_command_shows_the_points_it_tried() -> None:
    code, out, err = run(
        *(
            "solve",
            "smallest-link",
            "alexnet",
            "--batch",
            128,
            "--gpu",
            TITAN,
            "--policy",
            "vdnn-conv(p)",
            "--loss",
            "5%",
        )
    )
    assert code == 0, err
    assert out.startswith("Points tried")
    assert "loses too much" in out
    assert "slowest link for vdnn-conv(p) on alexnet with at most 5 % loss: " in " ".join(out.split())
    code, _, err = run("solve", "largest-batch", "alexnet", "--gpu", TITAN, "--policy", "oracle", "--loss", "120%")
    assert (code, err) == (2, "vdnnsim: --loss: found '120%', expected a share from 0 to below 1, such as 5% or 0.05\n")


def test_memory_is_told_in_a_unit_that_shows_a_step() -> None:
    assert memory_words(3_000_000) == "3 MB"
    assert memory_words(999_000_000) == "999 MB"
    assert memory_words(4_301_000_000) == "4.301 GB"
    assert memory_words(ROOMY_BYTES) == "endless"


def test_endless_memory_is_told_as_such() -> None:
    """No memory makes memory-optimal algorithms fast."""
    words = ("--gpu", TITAN, "--policy", "vdnn-all(m)", "--loss", "5%")
    code, out, err = run("solve", "smallest-capacity", "alexnet", "--batch", "128", *words)
    assert code == 0, err
    assert "\nendless " in out
    assert "17592" not in out


def test_words_are_not_split() -> None:
    words = ("--gpu", TITAN, "--policy", "vdnn-conv(p)")
    code, out, err = run("solve", "smallest-link", "vgg16", "--batch", "256", *words)
    assert code == 0, err
    read = out.split()
    assert {"conv3_3", "backward_filter)", "(workspace"} <= set(read), out


def test_a_folder_of_traces_that_is_not_there_is_told(tmp_path: Path) -> None:
    words = ("alexnet", "--batch", "128", "--gpu", TITAN, "--policy", "oracle", "--traces", tmp_path / "nix")
    code, _, err = run("solve", "smallest-capacity", *words)
    assert (code, err.startswith(f"vdnnsim: --traces: found no folder {tmp_path / 'nix'}, expected")) == (2, True)


def test_help_says_what_is_asked_when_the_loss_is_left_out() -> None:
    link, capacity = (
        " ".join(run("solve", name, "--help")[1].split()) for name in ("smallest-link", "smallest-capacity")
    )
    assert "Fitting is enough when left out" in capacity
    assert "Fitting is enough" not in link
    assert "[default: 5%]" in link
