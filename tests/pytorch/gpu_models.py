"""Trainings for checks on a GPU: small ones, or with `VDNNSIM_CAPTURE=full` the examples' full-sized models."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from support.torch_models import Attention, training
from vdnnsim.pytorch.script import Script

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
Made = tuple[Callable[[], object], nn.Module, torch.optim.Optimizer]


def on_gpu(model: nn.Module, *inputs: torch.Tensor, **options: Any) -> Made:
    return training(model.cuda(), *(one.cuda() for one in inputs), **options)


def transformer() -> Made:
    torch.manual_seed(0)

    class Autocast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks, self.head = nn.Sequential(*(Attention() for _ in range(3))), nn.Linear(32, 96)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cuda", torch.bfloat16):
                return self.head(self.blocks(x)).float()

    return on_gpu(Autocast(), torch.randn(32, 256, 32), torch.randint(0, 96, (32, 256)))


def convolutions() -> Made:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
    model = nn.Sequential(*layers, nn.MaxPool2d(4), nn.Flatten(), nn.Linear(64 * 64, 10))
    return on_gpu(model, torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,)), optimizer=torch.optim.SGD)


def example(name: str, **setting: Any) -> Callable[[], Made]:
    return lambda: tuple(Script(f"{EXAMPLES / name}.py:make").make(setting, "cuda"))  # type: ignore[return-value]


SMALL: dict[str, Callable[[], Made]] = {
    "transformer": transformer,
    "convolutions": convolutions,
}
FULL: dict[str, Callable[[], Made]] = {
    "gpt 124M": example("pytorch_gpt"),
    "gpt 350M": example("pytorch_gpt", size="350M", batch=8),
    "resnet50": example("pytorch_resnet"),
    "resnet50, channels last": example("pytorch_resnet", precision="bf16"),
}
MODELS = FULL if os.environ.get("VDNNSIM_CAPTURE") == "full" else SMALL
