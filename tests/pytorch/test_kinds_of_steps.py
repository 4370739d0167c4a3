"""Steps of every kind under plans captured of them: each goes as planned, with the gradients of the step without."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from pytorch.tricky_models import equal
from support.torch_models import Made
from vdnnsim.captured import PlanFile, hook_schedule
from vdnnsim.captured.choosing import can_go
from vdnnsim.pytorch import capture, offload

SEEDED = torch.Generator().manual_seed(0)
INPUTS, OTHERS = (torch.randn(8, 32, generator=SEEDED) for _ in range(2))
TARGETS = torch.arange(8)


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Dropout(0.1), nn.Linear(64, 32))


def trained(model: nn.Module, backward: Callable[[], object]) -> Made:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        backward()
        optimizer.step()

    return step, model, optimizer


def accumulating() -> Made:
    model = perceptron()

    def backward() -> None:
        for inputs in (INPUTS, OTHERS, INPUTS):
            functional.cross_entropy(model(inputs), TARGETS).backward()

    return trained(model, backward)


def adversaries() -> Made:
    """Two models, whose backwards share a part of the graph."""
    making, judging = perceptron(), perceptron()

    def backward() -> None:
        made = making(INPUTS)
        (judging(OTHERS).mean() - judging(made.detach()).mean()).backward()
        judging.zero_grad()
        (-judging(made).mean()).backward()

    return trained(nn.ModuleList([making, judging]), backward)


def penalised() -> Made:
    """With a gradient in the loss: what the first backward saves, the second needs."""
    model = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 1))
    inputs = INPUTS.clone().requires_grad_()

    def backward() -> None:
        result = model(inputs)
        (gradient,) = torch.autograd.grad(result.sum(), inputs, create_graph=True)
        (result.mean() + gradient.pow(2).mean()).backward()

    return trained(model, backward)


def checkpointed(use_reentrant: bool) -> Made:
    model = nn.ModuleList(perceptron() for _ in range(3))
    inputs = INPUTS.clone().requires_grad_(use_reentrant)

    def backward() -> None:
        x = inputs
        for block in model:
            x = x + checkpoint(block, x, use_reentrant=use_reentrant)
        functional.cross_entropy(x, TARGETS).backward()

    return trained(model, backward)


def twice() -> Made:
    """Two forwards of batch normalisation before one backward."""
    model = nn.Sequential(nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(inplace=True), nn.Linear(32, 8))
    return trained(model, lambda: (model(INPUTS) * model(OTHERS)).sum().backward())


def under_autocast() -> Made:
    model = perceptron()

    def backward() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(model(INPUTS), TARGETS)
        loss.backward()

    return trained(model, backward)


KINDS: dict[str, Callable[[], Made]] = {
    "gradients accumulated": accumulating,
    "adversaries": adversaries,
    "a gradient in the loss": penalised,
    "checkpoints": lambda: checkpointed(False),
    "re-entrant checkpoints": lambda: checkpointed(True),
    "two forwards": twice,
    "autocast": under_autocast,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_goes_as_planned(kind: str) -> None:
    torch.manual_seed(0)
    step, model, optimizer = KINDS[kind]()
    trace = capture(step, model, optimizer, name=kind, smallest_bytes=0)
    plan = PlanFile.of(trace, "all", hook_schedule(trace, can_go(trace), ahead=2), 1, 0)
    begin = {name: value.clone() for name, value in model.state_dict().items()}

    def gradients() -> list[list[torch.Tensor]]:
        model.load_state_dict(begin)
        torch.manual_seed(1)
        found = []
        for _ in range(2):
            step()
            found.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
        return found

    expected = gradients()
    with offload(model, plan, checked=True) as running:
        found = gradients()
    assert all(map(equal, found, expected))
    report = running.report()
    assert (report.as_planned, report.late, report.copies_out) == (2, 0, 2 * len(plan.leaving))
