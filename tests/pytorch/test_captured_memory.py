"""The blocks of a captured step, added up, are what the profiler itself saw in use, to the byte."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from support.captured_peak import peak_bytes
from support.torch_models import MODELS, ODD_MODELS
from vdnnsim.captured import check_step
from vdnnsim.captured.step import BEFORE_STEP, BlockClass, CapturedStep, Deed, Doing
from vdnnsim.pytorch import capture

ALL = MODELS | ODD_MODELS


@cache
def captured(name: str) -> CapturedStep:
    return capture(*ALL[name](), name=name, smallest_bytes=0, repetitions=2)


@pytest.mark.parametrize("name", ALL)
def test_the_peak_is_the_profilers_to_the_byte(name: str) -> None:
    step = captured(name)
    assert peak_bytes(step, lambda block: block.given) == step.seen.peak_requested_bytes
    assert "add up" not in step.header.conditions["notices"]


@pytest.mark.parametrize("name", ALL)
def test_the_records_speak_of_each_other_rightly(name: str) -> None:
    check_step(captured(name))


def saved_of(name: str, *fields: str) -> list[tuple[object, ...]]:
    return [tuple(getattr(saved, field) for field in fields) for saved in captured(name).saved]


@pytest.mark.parametrize("name", ALL)
def test_the_same_is_known_where_pytorch_does_not_tell_what_hooks_keep(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vdnnsim.pytorch.hooks._TELLS", False)
    assert capture(*ALL[name](), name=name, smallest_bytes=0, repetitions=2).saved == captured(name).saved


def test_saved_tensors_know_node_attribute_and_module() -> None:
    assert saved_of("mlp", "node", "attribute", "module") == [
        ("AddmmBackward0", "mat1", "0"),
        ("ReluBackward0", "result", "1"),
        ("AddmmBackward0", "mat1", "2"),
        ("AddmmBackward0", "mat2", "2"),
        ("LogSoftmaxBackward0", "result", ""),
        ("NllLossBackward0", "self", ""),
        ("NllLossBackward0", "target", ""),
        ("NllLossBackward0", "total_weight", ""),
    ]


def test_attention_calls_functions_and_its_products_are_known_all_the_same() -> None:
    found = saved_of("attention", "node", "module")
    assert ("AddmmBackward0", "attention") in found  # the projection of what comes out
    assert ("BmmBackward0", "attention") in found  # with dropout the CPU has no fused attention


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("mlp", {"input", "parameter", ""}),
        ("convolutions", {"input", "parameter", "buffer", ""}),
        ("autocast", {"input", "weight copy", ""}),
        ("accumulating", {"input", "parameter", ""}),
        ("reentrant checkpoint", {"input", "parameter", "saved again after it was needed", ""}),
        ("odd", {"input", "parameter", "buffer", "no plain tensor", ""}),
    ],
)
def test_what_must_stay_says_why(name: str, reasons: set[str]) -> None:
    assert {why for (why,) in saved_of(name, "stays")} == reasons


def test_small_blocks_stay() -> None:
    step = capture(*MODELS["mlp"](), smallest_bytes=10_000, repetitions=2)
    sizes = {step.blocks[saved.block].size_bytes: saved.stays for saved in step.saved}
    assert (sizes[16384], sizes[1280]) == ("", "small")


def test_views_lie_in_one_block() -> None:
    offsets = {saved.offset_bytes for saved in captured("odd").saved if saved.node == "MulBackward0"}
    assert 32 in offsets  # the right half of a row of 16 numbers
    assert len({saved.block for saved in captured("mlp").saved[1:3]}) == 1


def test_operators_know_module_and_phase() -> None:
    step = captured("mlp")
    named = {(operator.name, operator.module, operator.phase.value) for operator in step.operators}
    assert ("aten::linear", "2", "forward") in named
    assert ("AddmmBackward0", "2", "backward") in named
    assert ("aten::addcdiv_", "", "optimiser") in named
    assert [step.kernels[n].kind for n in (0, 1, 3)] == ["gemm", "elementwise", "reduction"]


def test_gradients_are_known_where_they_die_within_the_step() -> None:
    _, model, optimizer = MODELS["mlp"]()

    def step() -> None:
        model(torch.ones(4, 64)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    found = capture(step, model, optimizer, repetitions=2)
    gradients = [block for block in found.blocks if block.holds is BlockClass.GRADIENT]
    assert sorted(block.size_bytes for block in gradients) == sorted(4 * one.numel() for one in model.parameters())
    assert all(block.taken != BEFORE_STEP and block.given is not None for block in gradients)


def test_what_leaves_dies_when_others_let_go_and_what_is_fetched_behind_its_last_need() -> None:
    """In the skip model the first layer's result is held until the concatenation, long after it was saved."""
    step = captured("skip")
    number = next(saved.block for saved in step.saved if saved.module == "" and saved.node == "SigmoidBackward0")
    held = step.blocks[number]
    cat = next(n for n, kernel in enumerate(step.kernels) if kernel.name == "aten::cat")
    deeds = enumerate(step.deeds)
    needs = [n for n, (doing, which) in deeds if doing is Doing.NEED and step.saved[which].block == number]
    assert held.released is not None
    assert held.released >= step.deeds.index(Deed(Doing.LAUNCH, cat))
    assert held.fetched_given is not None
    assert held.fetched_given >= needs[-1]


@pytest.mark.parametrize(
    ("name", "notice"),
    [
        ("checkpoint", "checkpoint: 4 modules run again in backward"),
        ("reentrant checkpoint", "checkpoint: 4 modules run again in backward"),
    ],
)
def test_what_hooks_do_not_see_is_told(name: str, notice: str) -> None:
    assert notice in captured(name).header.conditions["notices"]
    assert notice not in captured("mlp").header.conditions["notices"]


def test_the_profiler_says_nothing_past_python(capfd: pytest.CaptureFixture[str]) -> None:
    """Of its start and stop, and of blocks from before that die while it watches."""
    capture(*ODD_MODELS["accumulating"](), repetitions=2)
    assert capfd.readouterr() == ("", "")
