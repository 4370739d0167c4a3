"""Steps and models that cannot be captured: one clear error each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from support.torch_models import Made, mlp
from vdnnsim.errors import InvalidInput
from vdnnsim.pytorch import capture


def said(made: Made, **options: str) -> str:
    with pytest.raises(InvalidInput) as failure:
        capture(*made, **options)
    return str(failure.value)


def without_backward() -> Made:
    _, model, optimizer = mlp()
    return lambda: model(torch.randn(4, 64)), model, optimizer


def changing(at: int, change: Callable[[int], object]) -> Made:
    """A step that is another one from some call on."""
    _, model, optimizer = mlp()
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        batch = change(4 if calls < at else 5)
        model(batch).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, model, optimizer


def test_a_step_without_backward() -> None:
    assert said(without_backward()) == (
        "the step: found no backward, expected one; step() must call loss.backward() itself, and not in another thread"
    )


def test_a_batch_of_another_size() -> None:
    """The message names the first thing that differs, with operator and module."""
    found = said(changing(18, lambda size: torch.ones(size, 64)))
    assert found == (
        "the step in which everything leaves: block or kernel 1 (aten::ones) is 1280 B, where the step captured first "
        "had 1024 B; every step must do the same (same shapes, no choice by chance or value, not a loader's next "
        "batch)"
    )


def test_another_kernel_in_a_step_that_is_timed() -> None:
    found = said(changing(19, lambda size: torch.ones(4, 64) if size == 4 else torch.zeros(4, 64)))
    assert found.startswith(
        "a step that was timed: operator 1 is aten::zeros, where the step captured first had aten::ones"
    )


def test_more_is_saved_than_before() -> None:
    def change(size: int) -> torch.Tensor:
        batch = torch.ones(4, 64, requires_grad=True)
        return batch if size == 4 else batch.sin()

    assert said(changing(18, change)).startswith("the step in which everything leaves: saves more tensors than the ")


def test_no_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert said(mlp(), device="cuda") == "device: found no GPU that PyTorch can use, expected one for 'cuda'; use cpu"


def test_another_device() -> None:
    assert said(mlp(), device="tpu") == "device: found 'tpu', expected cuda or cpu"


def test_a_model_that_is_nowhere() -> None:
    model = nn.Linear(2, 2, device="meta")
    found = said((lambda: None, model, torch.optim.SGD(model.parameters())))
    assert found == "the model: found it on meta, expected cuda or cpu"


def test_a_model_on_two_devices() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    found = said((lambda: None, model, torch.optim.SGD(model.parameters())))
    assert found == "the model: found cpu and meta, expected parameters and buffers on one device"


def test_too_little_memory() -> None:
    def step() -> None:
        torch.empty(2**60, dtype=torch.uint8)

    _, model, optimizer = mlp()
    assert said((step, model, optimizer)).startswith("the step: too little memory to capture it (")


def test_host_memory_that_does_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves goes to the host."""

    def none(*_: object) -> None:
        raise MemoryError("Unable to allocate 12.0 GiB")

    monkeypatch.setattr("vdnnsim.pytorch.hooks.np.empty", none)
    assert said(mlp()) == (
        "the step: too little memory to capture it (Unable to allocate 12.0 GiB); use a smaller batch, or free memory"
    )


@pytest.mark.parametrize(("place", "name", "expected"), [(0, "step", "a function"), (1, "model", "a torch.nn.Module")])
def test_what_is_no_training(place: int, name: str, expected: str) -> None:
    made = list(mlp())
    made[place] = 7  # type: ignore[call-overload]
    with pytest.raises(InvalidInput) as failure:
        capture(*made)
    assert str(failure.value) == f"capture: found a int as {name}, expected {expected}"
