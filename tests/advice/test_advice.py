"""Does it pay, and what to set: no plan over its budget, more budget never slower, and the words that say it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured.batches import of_batch, of_length
from captured.steps import three_layers
from captured.strategies import steps
from support.examples import tries
from support.strategies import Case, cases
from vdnnsim import Advice, CapturedStep, Study, advice_figure, advise, compare, load_profile, make_study
from vdnnsim.advice.plans import Plans
from vdnnsim.advice.records import Reach
from vdnnsim.captured import write_step, write_steps
from vdnnsim.captured.captures import tokens_of
from vdnnsim.errors import InvalidInput, MissingTrace
from vdnnsim.making import study_of_step
from vdnnsim.memory import POOLS
from vdnnsim.report.advice import advice_lines

TITAN = "titan-x-maxwell"
H200 = replace(load_profile("h200"), name="test-gpu", title="test-gpu")
SLOW = {batch: of_batch(batch, start_ns=50_000_000) for batch in (2, 4, 8)}
"""Kernels take as long whatever the batch, nearly: a larger one trains more in a second."""
BUDGETS = st.lists(st.integers(1, 130), min_size=2, max_size=4)


def check_budgets(study: Study, percents: list[int]) -> None:
    """By rising memory: each plan within its own, no slower than with less, and really so when it is run."""
    plans = Plans(study)
    fastest_ns = None
    for percent in sorted(percents):
        capacity_bytes = max(1, plans.without_offload_bytes * percent // 100)
        best = plans.best(capacity_bytes)
        if best is None:
            assert fastest_ns is None
            assert capacity_bytes < plans.least_bytes
            continue
        assert best.result.trainable
        assert best.result.pool_high_water_bytes <= best.budget_bytes <= capacity_bytes
        assert fastest_ns is None or best.result.iteration_time_ns <= fastest_ns
        fastest_ns = best.result.iteration_time_ns
        again = study.within(best.budget_bytes).run(best.policy).result
        assert (again.trainable, again.iteration_time_ns) == (True, fastest_ns)
    if max(percents) >= 100:
        assert best is not None


@settings(max_examples=tries(12))
@given(cases(), st.sampled_from(tuple(POOLS)), BUDGETS)
def test_a_network_is_advised_within_its_budget_and_never_slower_with_more(
    case: Case, pool: str, percents: list[int]
) -> None:
    check_budgets(Study(case.network, case.trace, case.gpu, pool, case.weight_gradients), percents)


@settings(max_examples=tries(8))
@given(steps(), BUDGETS)
def test_so_is_a_captured_step(step: CapturedStep, percents: list[int]) -> None:
    gpu = replace(H200, name=step.header.gpu, title=step.header.gpu)
    check_budgets(study_of_step(step, gpu), percents)


def test_so_is_a_shipped_network() -> None:
    check_budgets(make_study("alexnet", batch=128, gpu=TITAN), [20, 40, 55, 60, 80, 100])


@pytest.mark.parametrize("varied", [{2: of_batch(2), 4: of_batch(4), 8: of_batch(8)}, SLOW])
def test_more_memory_never_gives_less_at_the_batch_that_it_finds(
    tmp_path: Path, varied: dict[int, CapturedStep]
) -> None:
    write_steps("batch", varied, tmp_path / "several")
    rates = []
    for capacity in (70, 100, 120, 150, 190, 220):
        advice = advise(tmp_path / "several", gpu=H200, capacity=f"{capacity}MB")
        own = advice.units_per_s(advice.best) if advice.best else 0
        other = advice.alternative
        rates.append(max(own or 0, other.units_per_s or 0 if other else 0))
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]


def test_a_batch_that_is_free_is_one_with_a_plan() -> None:
    """By the steps of memory that plans are made for, the very last batch that a policy reaches may have none."""
    advice = advise("vgg16", gpu=TITAN, capacity="6GB")
    assert advice.best is not None
    assert advice.value is not None
    assert 64 < advice.value <= max(reach.value or 0 for reach in advice.reaches)


def test_what_fits_needs_no_offload() -> None:
    advice = advise("resnet50", gpu="h200")
    assert (advice.fits, advice.pays, advice.policy, advice.link) == (True, False, "baseline(p)", None)
    compared = compare("resnet50", batch=64, gpu="h200", policies="baseline(p)")["baseline(p)"]
    assert advice.best is not None
    assert advice.best.result.iteration_time_ns == compared.iteration_time_ns
    assert "no: " not in str(advice)
    assert "traces of other batches than 64" in str(advice)


@pytest.fixture(scope="module")
def of_vgg16() -> Advice:
    return advise("vgg16", gpu=TITAN)


def test_a_policy_that_reaches_nothing_has_no_rate(of_vgg16: Advice) -> None:
    none = replace(of_vgg16, reaches=(Reach("vdnn-all(p)", None, None, False), Reach("vdnn++", 64, 9.5, False)))
    assert dict(advice_lines(none))["How far"] == "largest batch (images/s): vdnn-all(p) none, vdnn++ 64 (9.5/s)"


def test_it_does_not_pay_where_a_smaller_batch_trains_more(of_vgg16: Advice) -> None:
    """The number that decides is the baseline's at its largest batch, not the oracle's at this one."""
    advice = of_vgg16
    assert (advice.value, advice.fits, advice.pays) == (256, False, False)
    assert advice.flip is not None
    assert advice.flip.value is None  # no larger batch does better
    other = advice.alternative
    assert other is not None
    assert (other.policy, other.interpolated) == ("baseline(p)", True)
    assert advice.policy == "baseline(p)"
    assert f"baseline(p) ~{other.value}" in str(advice)
    assert "images/s" in str(advice)


def test_beyond_the_flips_the_answer_is_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "several"
    write_steps("batch", SLOW, folder)
    before = advise(folder, gpu=H200, capacity="200MB")
    assert before.best is not None
    assert before.pays
    assert before.link is not None
    assert before.link.bytes_per_s is not None
    after = advise(folder, gpu=H200, capacity="200MB", link_bandwidth=before.link.bytes_per_s // 2)
    assert after.pays is False
    without = before.reaches[0]
    assert before.flip is not None
    assert before.flip.value is not None
    assert (without.value or 0) < before.flip.value <= 8
    assert f"{before.flip.policy} pays from {'~' if before.flip.interpolated else ''}{before.flip.value}" in str(before)
    enough, least = before.capacity.without_offload_bytes, before.capacity.least_bytes
    assert advise(folder, gpu=H200, batch=8, capacity=enough).fits
    assert not advise(folder, gpu=H200, batch=8, capacity=enough - 1).fits
    assert advise(folder, gpu=H200, batch=8, capacity=least).best is not None
    nothing = advise(folder, gpu=H200, batch=8, capacity=least - 2 * before.capacity.step_bytes)
    assert (nothing.best, nothing.policy) == (None, "baseline")
    assert "no policy fits" in str(nothing)
    assert "nothing fits at batch 8; baseline at batch " in str(nothing)


def test_a_captured_step_names_the_command_that_writes_its_plan(tmp_path: Path) -> None:
    folder = tmp_path / "my step"
    write_step(three_layers(), folder)
    needs = advise(folder, gpu=H200).capacity.without_offload_bytes
    advice = advise(folder, gpu=H200, capacity=needs - 1)
    assert advice.best is not None
    assert advice.best.offloads
    assert f"vdnnsim plan '{folder}' --gpu test-gpu --policy {advice.policy} --capacity" in str(advice)
    assert "--vary batch=8,16,32" in str(advice)
    assert compare(folder, gpu=H200, capacity=advice.best.budget_bytes, policies=advice.policy)[advice.policy].trainable


def test_captures_of_several_batches_say_how_far_each_policy_reaches(tmp_path: Path) -> None:
    write_steps("batch", SLOW, tmp_path / "several")
    advice = advise(tmp_path / "several", gpu=H200)
    assert [(reach.value, reach.interpolated) for reach in advice.reaches] == [(8, False)] * len(advice.reaches)
    assert (advice.value, advice.missing, advice.unit) == (8, "", "samples")
    small = advise(tmp_path / "several", gpu=H200, capacity=advice.capacity.without_offload_bytes - 1)
    assert [reach.policy for reach in small.reaches if reach.value == 8] != []
    assert small.reaches[0].value in range(2, 8)
    folder = tmp_path / "several" / "batch_8"
    assert f"vdnnsim plan {folder} " in str(small)
    assert small.best is not None
    assert compare(folder, gpu=H200, capacity=small.best.budget_bytes, policies=small.policy)[small.policy].trainable


def test_captures_that_vary_the_length_are_told_in_tokens(tmp_path: Path) -> None:
    """A shorter sequence is another training: it is no alternative to offloading."""
    write_steps("tokens", {tokens: of_length(tokens) for tokens in (16, 32, 64)}, tmp_path / "lengths")
    whole = advise(tmp_path / "lengths", gpu=H200)
    assert (whole.varied, whole.value, whole.unit, whole.per_iteration) == ("tokens", 64, "tokens", 4 * 64)
    advice = advise(tmp_path / "lengths", gpu=H200, capacity=whole.capacity.without_offload_bytes - 1)
    assert (advice.fits, advice.pays, advice.alternative) == (False, True, None)
    assert advice.best is not None
    assert advice.units_per_s(advice.best) == 4 * 64 * 1e9 / advice.best.result.iteration_time_ns
    without = advice.reaches[0]
    assert without.value in range(16, 64)
    assert advice.flip is not None
    assert advice.flip.value == without.value + 1  # nothing shorter needs it
    assert f"tokens ~{without.value} is the largest that fits" in str(advice)
    between = advise(tmp_path / "lengths", gpu=H200, tokens=48)
    assert (between.value, between.between, between.provenance) == (48, (16, 64), "modelled")
    with pytest.raises(InvalidInput, match="batch: found 8, expected none: what varies here is tokens"):
        advise(tmp_path / "lengths", gpu=H200, batch=8)


def test_tokens_are_what_an_embedding_reads() -> None:
    step = of_batch(8)
    words = step.saved[0]._replace(node="EmbeddingBackward0", attribute="indices", shape=(8, 128))
    assert tokens_of(step) is None
    assert tokens_of(replace(step, saved=(words, *step.saved[1:]))) == 128
    assert tokens_of(of_length(32)) == 32


def test_bad_input_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(MissingTrace, match="beyond which nothing is extrapolated"):
        advise("vgg16", gpu=TITAN, batch=512)
    with pytest.raises(MissingTrace, match="resnet50"):
        advise("resnet50", gpu=TITAN)
    with pytest.raises(InvalidInput, match="capacity"):
        advise("vgg16", gpu=TITAN, capacity="12")
    write_step(three_layers(), tmp_path / "three")
    with pytest.raises(InvalidInput, match="expected none"):
        advise(tmp_path / "three", gpu=H200, math="fp32")
    with pytest.raises(InvalidInput, match="captures of several batches"):
        advise(tmp_path / "three", gpu=H200, batch=64)


def test_the_figure_has_every_policy_and_the_capacity(tmp_path: Path) -> None:
    advice = advise("alexnet", gpu=TITAN, capacity="800MB")
    (axes,) = advice_figure(advice, tmp_path / "advice.png")
    assert {text.get_text() for text in axes.figure.legends[0].texts} >= {"baseline(p)", "vdnn-conv(p)", "vdnn-all(m)"}
    assert any("capacity 800.0 MB" in text.get_text() for text in axes.texts)
    assert (tmp_path / "advice.png").stat().st_size > 10_000


def test_a_shipped_network_is_answered_at_once() -> None:
    """Under 3 s of processor time with the interpreter's start; here without, on a slow machine."""
    begun = time.process_time()
    advise("googlenet", gpu="h200", capacity="2GB")
    assert time.process_time() - begun < 3


@pytest.mark.parametrize("capacity", ["1GB", "900MB"])
def test_the_advised_plan_is_no_slower_than_what_users_name(capacity: str) -> None:
    advice = advise("alexnet", gpu=TITAN, capacity=capacity)
    table = compare("alexnet", batch=128, gpu=TITAN, capacity=capacity, policies=["vdnn++", "offload", "vdnn-dyn"])
    assert advice.best is not None
    assert advice.best.result.iteration_time_ns <= min(one.iteration_time_ns for one in table if one.trainable)


def test_a_policy_that_more_memory_makes_slower_is_planned_for_less(of_vgg16: Advice) -> None:
    """vdnn-dyn itself: with 12.79 GB it lets everything leave, with less it finds what is faster."""
    assert of_vgg16.best is not None
    assert of_vgg16.best.policy == "vdnn-dyn"
    assert of_vgg16.best.budget_bytes < 11 * 10**9
    whole = make_study("vgg16", batch=256, gpu=TITAN).run("vdnn-dyn").result
    assert whole.iteration_time_ns > of_vgg16.best.result.iteration_time_ns
