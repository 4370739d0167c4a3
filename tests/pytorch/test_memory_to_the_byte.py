"""The peak of a step that trains by a plan, as the CPU's profiler counts it, is what the plan's program takes."""

from __future__ import annotations

from functools import cache, partial

import pytest

from support.torch_models import MODELS, Made
from vdnnsim.captured import CapturedStep, PlanFile, build_step, hook_schedule
from vdnnsim.captured.choosing import may_leave
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
