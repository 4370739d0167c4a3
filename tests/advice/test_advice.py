"""Does it pay, and what to set: no plan over its budget, more budget never slower, and the words that say it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured.batches import of_batch
from captured.steps import three_layers
from captured.strategies import steps
from support.examples import tries
from support.strategies import Case, cases
from vdnnsim import Advice, CapturedStep, Study, advice_figure, advise, compare, load_profile, make_study
from vdnnsim.advice.plans import Plans
from vdnnsim.captured import write_step, write_steps
from vdnnsim.errors import InvalidInput, MissingTrace
from vdnnsim.memory import POOLS
from vdnnsim.study import study_of_step

TITAN = "titan-x-maxwell"
H200 = replace(load_profile("h200"), name="test-gpu", title="test-gpu")
BUDGETS = st.lists(st.integers(1, 130), min_size=2, max_size=4)


@pytest.fixture(scope="module")
def vgg16() -> Advice:
    """On a Titan X with its 12 GB."""
    return advise("vgg16", gpu=TITAN)


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


def test_more_memory_never_gives_less_of_a_shipped_network() -> None:
    plans = Plans(make_study("vgg16", batch=256, gpu=TITAN))
    found = [plans.best(capacity * 10**9) for capacity in range(4, 30, 3)]
    times_ns = [plan.result.iteration_time_ns for plan in found if plan]
    assert found[: len(found) - len(times_ns)] == [None] * (len(found) - len(times_ns))
    assert times_ns == sorted(times_ns, reverse=True)
    assert times_ns[0] > times_ns[-1]


def test_a_batch_that_is_free_is_one_with_a_plan(vgg16: Advice) -> None:
    """With 6 GB vdnn-dyn reaches a batch for which, by the steps of memory that plans are made for, there is none."""
    advice = advise("vgg16", gpu=TITAN, capacity="6GB")
    assert advice.best is not None
    assert advice.batch is not None
    assert 64 < advice.batch < max(reach.batch or 0 for reach in advice.reaches)
    assert vgg16.best is not None
    assert (advice.units_per_s(advice.best) or 0) <= (vgg16.units_per_s(vgg16.best) or 0)


def test_what_fits_needs_no_offload() -> None:
    advice = advise("resnet50", gpu="h200")
    assert (advice.fits, advice.pays, advice.policy, advice.link) == (True, False, "baseline(p)", None)
    compared = compare("resnet50", batch=64, gpu="h200", policies="baseline(p)")["baseline(p)"]
    assert advice.best is not None
    assert advice.best.result.iteration_time_ns == compared.iteration_time_ns
    assert "no: " not in str(advice)
    assert "traces of other batches than 64" in str(advice)


def test_it_does_not_pay_where_a_smaller_batch_trains_more(vgg16: Advice) -> None:
    """The number that decides is the baseline's at its largest batch, not the oracle's at this one."""
    assert (vgg16.batch, vgg16.fits, vgg16.pays) == (256, False, False)
    other = vgg16.alternative
    assert other is not None
    assert (other.policy, other.interpolated) == ("baseline(p)", True)
    assert vgg16.policy == "baseline(p)"
    assert f"baseline(p) ~{other.batch}" in str(vgg16)


def test_with_a_faster_link_the_answer_is_the_other(vgg16: Advice) -> None:
    assert vgg16.link is not None
    assert vgg16.link.bytes_per_s is not None
    after = advise("vgg16", gpu=TITAN, link_bandwidth=vgg16.link.bytes_per_s * 11 // 10)
    assert (vgg16.pays, after.pays) == (False, True)


def test_with_more_and_less_memory_the_answer_is_the_other() -> None:
    enough = advise("alexnet", gpu=TITAN).capacity.without_offload_bytes
    assert advise("alexnet", gpu=TITAN, capacity=enough).fits
    short = advise("alexnet", gpu=TITAN, capacity=enough - 1)
    assert not short.fits
    assert advise("alexnet", gpu=TITAN, capacity=short.capacity.least_bytes).best is not None


def test_where_nothing_fits_a_smaller_batch_is_named(vgg16: Advice) -> None:
    capacity = vgg16.capacity.least_bytes - 2 * vgg16.capacity.step_bytes
    nothing = advise("vgg16", gpu=TITAN, batch=256, capacity=capacity)
    assert (nothing.best, nothing.policy) == (None, "baseline(p)")
    assert "no policy fits" in str(nothing)
    assert "nothing fits at batch 256; baseline(p) at batch ~" in str(nothing)


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
    write_steps("batch", {batch: of_batch(batch) for batch in (2, 4, 8)}, tmp_path / "several")
    advice = advise(tmp_path / "several", gpu=H200)
    assert [(reach.batch, reach.interpolated) for reach in advice.reaches] == [(8, False)] * 4
    assert (advice.batch, advice.missing) == (8, "")
    small = advise(tmp_path / "several", gpu=H200, capacity=advice.capacity.without_offload_bytes - 1)
    assert [reach.policy for reach in small.reaches if reach.batch == 8] != []
    assert small.reaches[0].batch in range(2, 8)


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


def test_a_policy_that_more_memory_makes_slower_is_planned_for_less() -> None:
    """vdnn-dyn itself: with 12.79 GB it lets everything leave, with less it finds what is faster."""
    study = make_study("vgg16", batch=256, gpu=TITAN)
    plans = Plans(study)
    some = plans.best(10_800_000_000)
    more = plans.best(study.gpu.capacity_bytes)
    assert some is not None
    assert more is not None
    assert more.result.iteration_time_ns <= some.result.iteration_time_ns
    assert study.run("vdnn-dyn").result.iteration_time_ns > some.result.iteration_time_ns
