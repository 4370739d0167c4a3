"""What torch.compile made, however it was asked to: captured, and not compiled anew by our looking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from support.examples import thorough
from support.torch_models import mlp, training
from vdnnsim.pytorch import capture
from vdnnsim.pytorch.hooks import modules_marked


def test_a_module_that_was_compiled_in_place_is_marked_around_what_was_made_of_it() -> None:
    """Hooks of its own would be compiled with it."""
    _, model, _ = mlp()
    stack: list[str] = []
    seen: list[list[str]] = []

    def compiled(*args: Any) -> torch.Tensor:
        seen.append(list(stack))
        return model[0]._call_impl(*args)  # type: ignore[no-any-return]

    model[0]._compiled_call_impl = compiled
    with modules_marked(model, stack):
        model(torch.zeros(1, 64))
        assert not model[0]._forward_hooks
    assert seen == [["", "0"]]
    assert stack == []
    assert model[0]._compiled_call_impl is compiled


def test_where_compiled_code_runs_aside_no_module_is_marked() -> None:
    _, model, _ = mlp()
    with modules_marked(model, [], compiled=True):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).relu()  # type: ignore[no-any-return]


def layers() -> nn.Sequential:
    return nn.Sequential(_Layer(), _Layer())


def in_place(model: nn.Sequential) -> nn.Module:
    for layer in model:
        layer.compile(backend="aot_eager")
    return model


def aside(model: nn.Module) -> nn.Module:
    """The model itself is not what is compiled: whoever holds it does not know."""
    return torch.compile(model, backend="aot_eager")  # type: ignore[return-value]


def broken_off(model: nn.Sequential) -> nn.Module:
    """Nothing of PyTorch's own layers is compiled, where they stand alone: hooks run in what stays as it is."""
    model[0].linear.compile(backend="aot_eager")
    return model


@thorough
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize(
    ("compiling", "modules"),
    [(in_place, {"0", "1"}), (aside, {""}), (broken_off, {"0", "0.linear", "1", "1.linear"})],
)
def test_compiled_models_are_captured(compiling: Callable[[nn.Sequential], nn.Module], modules: set[str]) -> None:
    torch._dynamo.reset()
    model = layers()
    step, _, optimizer = training(compiling(model), torch.randn(32, 64), torch.randint(0, 10, (32,)))
    captured = capture(step, model, optimizer)
    assert ("torch.compile" in captured.header.conditions["notices"]) == (compiling is not broken_off)
    assert {saved.module for saved in captured.saved} - {""} == modules - {""}
