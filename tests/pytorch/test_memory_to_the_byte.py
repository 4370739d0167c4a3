"""The peak of a step that trains by a plan, as the CPU's profiler counts it, is what the plan's program takes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from torch import nn

from support.torch_models import MODELS, Made, training
from vdnnsim.captured import CapturedStep, PlanFile, build_step, hook_schedule
from vdnnsim.captured.choosing import can_go, may_leave
from vdnnsim.iteration import Schedule
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.pytorch import capture, offload
from vdnnsim.pytorch.peaks import profiled_rise_bytes
from vdnnsim.workloads import STEP_POOL, StepWorkload

BOUNDS = {0: None, 1: 0, 2: 4096}


@cache
def captured(name: str) -> tuple[Made, CapturedStep]:
    made = MODELS[name]()
    return made, capture(*made, name=name, smallest_bytes=0)


def predicted_peak_bytes(step: CapturedStep, schedule: Schedule) -> int:
    workload = StepWorkload(step)
    return workload.at_rest(build_step(step, schedule), workload.memory(STEP_POOL, ENDLESS_BYTES)).requested_bytes


@pytest.mark.parametrize("name", MODELS)
def test_memory_is_the_programs_to_the_byte(name: str) -> None:
    (train, model, _), step = captured(name)
    there = step.seen.peak_requested_bytes - profiled_rise_bytes(train)
    for ahead, bound in BOUNDS.items():
        schedule = hook_schedule(step, may_leave(step)[:: ahead + 1], ahead, bound)
        plan = PlanFile.of(step, "test", schedule, 1, 0)
        found = there + profiled_rise_bytes(train, partial(offload, model, plan))
        assert found == predicted_peak_bytes(step, schedule), f"{ahead} ahead"


class _Autocast(nn.Module):
    """A chain whose copies of weights make its peak: they are there from forward on, with all that is saved."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(64, 64) for _ in range(3)), nn.LayerNorm(64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.layers(x).float()


def _not_captured(step: CapturedStep) -> CapturedStep:
    """As captures were that sent away only what leaves by itself."""
    stays = {saved.block for saved in step.saved if saved.stays}
    blocks = (
        block._replace(released=None, fetched_given=None) if number in stays else block
        for number, block in enumerate(step.blocks)
    )
    return replace(step, blocks=tuple(blocks))


def test_with_copies_of_weights_and_what_is_small_a_step_needs_less_and_gives_the_same() -> None:
    torch.manual_seed(0)
    model = _Autocast()
    train, *_ = made = training(model, torch.randn(512, 64), torch.randint(0, 64, (512,)), torch.optim.SGD)
    step = capture(*made, name="autocast", smallest_bytes=4096, repetitions=1)
    there = step.seen.peak_requested_bytes - profiled_rise_bytes(train)
    begin = {name: value.clone() for name, value in model.state_dict().items()}

    def gradients() -> list[torch.Tensor]:
        model.load_state_dict(begin)
        train()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    expected, found = gradients(), []
    for leaving, ahead in ((may_leave(step), 0), (can_go(step), 0), (can_go(step), 1)):
        schedule = hook_schedule(step, leaving, ahead, 0, at_once=True)
        plan = PlanFile.of(step, "test", schedule, 1, 0)
        with offload(model, plan, checked=True) as running:
            assert all(map(torch.equal, gradients(), expected))
        assert running.report().as_planned == 1
        found.append(there + profiled_rise_bytes(train, partial(offload, model, plan)))
        assert found[-1] == predicted_peak_bytes(step, schedule) == predicted_peak_bytes(_not_captured(step), schedule)
    kept = sum(step.blocks[number].size_bytes for number in {*can_go(step)} - {*may_leave(step)})
    assert kept > 2 * 64 * 64 * 2
    assert found[1] < found[0]
