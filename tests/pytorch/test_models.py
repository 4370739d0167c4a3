"""The models that examples and the measuring list train: published sizes, and a step of each tiny form."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest
import torch

from support.scripts import load_script

Make = Callable[..., tuple[Callable[[], None], torch.nn.Module, torch.optim.Optimizer]]


GPT, RESNET = load_script("examples/pytorch_gpt.py"), load_script("examples/pytorch_resnet.py")
MODELS = load_script("experiments/pytorch/models.py")
NO_TRANSFORMERS = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")


def transformers_example() -> ModuleType:
    return load_script("examples/pytorch_transformers.py")


@pytest.mark.parametrize(
    ("make", "setting", "parameters"),
    [
        (GPT.make, {"size": "124M"}, 124_439_808 + (50304 - 50257) * 768),  # GPT-2's, its words padded
        (GPT.make, {"size": "350M"}, 354_823_168 + (50304 - 50257) * 1024),
        (RESNET.make, {}, 25_557_032),
        (MODELS.make_vit, {}, 86_567_656),
        (MODELS.make_unet, {}, 31_037_633 + 65),  # milesial/Pytorch-UNet of one class, and a second one
        (MODELS.make_llama, {}, 8 * (2048 * (2 * 2048 + 2 * 512 + 3 * 5632) + 2 * 2048) + 2 * 32000 * 2048 + 2048),
    ],
    ids=["gpt-124M", "gpt-350M", "resnet50", "vit_b_16", "unet", "llama"],
)
def test_published_sizes(make: Make, setting: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        _, model, _ = make(batch=1, device="meta", **setting)
    assert sum(one.numel() for one in model.parameters()) == parameters


def trains(make: Make) -> None:
    step, model, _ = make(device="cpu")
    before = [one.detach().clone() for one in model.parameters()]
    step()
    gradients = [one.grad for one in model.parameters()]
    assert all(one is not None and bool(one.isfinite().all()) for one in gradients)
    assert any(not torch.equal(one, was) for one, was in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "make",
    [
        GPT.make_tiny,
        RESNET.make_tiny,
        lambda **setting: RESNET.make_bf16(batch=4, tiny=True, **setting),
        MODELS.make_tiny_vit,
        MODELS.make_tiny_unet,
        MODELS.make_tiny_llama,
    ],
    ids=["gpt", "resnet", "resnet-bf16", "vit", "unet", "llama"],
)
def test_a_tiny_step_on_the_cpu(make: Make) -> None:
    trains(make)


@NO_TRANSFORMERS
@pytest.mark.filterwarnings("ignore")
def test_a_tiny_step_of_transformers() -> None:
    trains(transformers_example().make_tiny)
