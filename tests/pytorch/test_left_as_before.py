"""Capturing leaves everything as it was, also when the step fails half-way."""

from __future__ import annotations

import gc
import random
import re
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from support.torch_models import MODELS, ODD_MODELS, Made, mlp, training
from vdnnsim.captured import BlockClass
from vdnnsim.errors import InvalidInput
from vdnnsim.pytorch import capture


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, object]:
    """All that must not change, as bytes and numbers."""
    found: dict[str, object] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        found[name] = tensor.detach().numpy().tobytes()
    for name, parameter in model.named_parameters():
        found[f"gradient {name}"] = None if parameter.grad is None else parameter.grad.numpy().tobytes()
    for place, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            found[f"state {place} {key}"] = value.numpy().tobytes() if isinstance(value, torch.Tensor) else value
    found["groups"] = optimizer.state_dict()["param_groups"]
    found["modes"] = [module.training for module in model.modules()]
    found["random"] = (torch.get_rng_state().numpy().tobytes(), random.getstate(), np.random.get_state()[1].tobytes())
    found["hooks"] = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    found["collector"] = (gc.isenabled(), gc.get_freeze_count() > 0)
    return found


@pytest.mark.parametrize(("name", "steps_before"), [("mlp, gradients kept", 1), ("convolutions", 0), ("attention", 1)])
def test_all_is_as_before(name: str, steps_before: int) -> None:
    step, model, optimizer = MODELS[name]()
    for _ in range(steps_before):
        step()
    before = everything(model, optimizer)
    capture(step, model, optimizer, repetitions=2)
    assert everything(model, optimizer) == before


def test_of_two_optimisers_both_are_as_before() -> None:
    """As of a GAN, or of Muon for matrices and AdamW for the rest."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
    both = [torch.optim.AdamW(model[0].parameters()), torch.optim.SGD(model[1].parameters(), lr=0.1, momentum=0.9)]

    def step() -> None:
        model.zero_grad()
        model(torch.ones(64, 8)).sum().backward()
        for optimizer in both:
            optimizer.step()

    step()
    before = [everything(model, optimizer) for optimizer in both]
    captured = capture(step, model, both, repetitions=1)
    assert [everything(model, optimizer) for optimizer in both] == before
    states = [block.size_bytes for block in captured.blocks if block.holds is BlockClass.OPTIMISER_STATE]
    assert sorted(states) == sorted([4, 4, *[8 * 8 * 4] * 2, *[8 * 4] * 3, 4])


def failing_at(call: int, raises: Callable[[], None]) -> Made:
    """A step that fails behind its backward in its n-th call."""
    step, model, optimizer = mlp()
    calls = 0

    def failing() -> None:
        nonlocal calls
        calls += 1
        model.eval()
        step()
        random.random(), np.random.random()
        if calls == call:
            raises()

    return failing, model, optimizer


def bad_value() -> None:
    raise ValueError("no such word\nin the vocabulary")


@pytest.mark.parametrize("call", [4, 16, 20])
def test_all_is_as_before_where_the_step_fails(call: int) -> None:
    """While it warms up, is timed, and in each kind of recording."""
    step, model, optimizer = failing_at(call, bad_value)
    before = everything(model, optimizer)
    with pytest.raises(InvalidInput) as failure:
        capture(step, model, optimizer)
    said = rf"the step: raised ValueError in call {call}: no such word \(.*\.py:\d+\)"
    assert re.fullmatch(said, str(failure.value))
    assert everything(model, optimizer) == before


def test_ctrl_c_passes_and_all_is_as_before() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    step, model, optimizer = failing_at(17, interrupt)
    before = everything(model, optimizer)
    with pytest.raises(KeyboardInterrupt):
        capture(step, model, optimizer)
    assert everything(model, optimizer) == before


def test_a_gradient_that_is_kept_stays_the_same_tensor() -> None:
    step, model, optimizer = mlp(set_to_none=False)
    step()
    gradients = [parameter.grad for parameter in model.parameters()]
    capture(step, model, optimizer, repetitions=2)
    assert [parameter.grad is was for parameter, was in zip(model.parameters(), gradients, strict=True)] == [True] * 4


def test_a_failure_holds_no_tensor() -> None:
    """Its traceback would hold the step's frames, and these what they made."""
    made: list[weakref.ref[torch.Tensor]] = []
    model = nn.Linear(4, 4)

    def step() -> None:
        output = model(torch.randn(2, 4))
        made.append(weakref.ref(output))
        raise RuntimeError

    with pytest.raises(InvalidInput) as failure:
        capture(step, model, torch.optim.SGD(model.parameters()))
    assert failure.value.__notes__
    assert [one() for one in made] == [None]


def test_saved_tensors_are_not_held_afterwards() -> None:
    outputs: list[weakref.ref[torch.Tensor]] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            output = torch.sigmoid(self.linear(x))
            outputs.append(weakref.ref(output))
            return output

    capture(*training(Watched(), torch.randn(4, 8), torch.randint(0, 8, (4,))), repetitions=2)
    assert {one() for one in outputs} == {None}


@pytest.mark.parametrize("name", ["recurrent", "convolutions"])
def test_the_step_in_which_everything_leaves_trains_right(name: str) -> None:
    """Its gradients are those of the plain step, to the bit: what comes back is what was saved."""
    step, model, optimizer = (MODELS | ODD_MODELS)[name]()
    optimizer.step = lambda: None  # type: ignore[method-assign,assignment]
    found: list[list[torch.Tensor]] = []

    def noted() -> None:
        step()
        found.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])

    capture(noted, model, optimizer, smallest_bytes=0, repetitions=2)
    plain, leaving = found[0], found[9]
    assert len(plain) == len(leaving) > 0
    assert all(torch.equal(one, other) for one, other in zip(plain, leaving, strict=True))


def test_what_was_not_frozen_is_not_frozen_afterwards() -> None:
    gc.unfreeze()
    capture(*mlp(), repetitions=2)
    assert gc.get_freeze_count() == 0
    gc.freeze()
