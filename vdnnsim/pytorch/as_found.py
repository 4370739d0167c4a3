"""What a plan's steps need of the device memory as it is found when they begin: how segments are cut up decides what
the allocator holds in the end, and every process cuts them up its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vdnnsim.calibration.step_records import Prediction
from vdnnsim.captured import CapturedStep, PlanFile, build_step
from vdnnsim.captured.memory import addresses_of, as_found, pool_of, successors_of
from vdnnsim.iteration import Schedule
from vdnnsim.machines.device_memory import DeviceMemory, OutOfMemory
from vdnnsim.machines.steady import StepMemory, steady_memory
from vdnnsim.profiler.recording import MemoryNow


def step_in(step: CapturedStep, memory: MemoryNow | None, held: Mapping[str, tuple[int, int]]) -> CapturedStep:
    """The step beginning in this memory, of which model and optimiser hold what `holding.held_by` says; as it was
    captured where nobody tells."""
    if memory is None:
        return step
    return as_found(step, memory.segments, memory.blocks, (address for address, _ in held.values()))


def predicted_in(step: CapturedStep, prediction: Prediction, plan: PlanFile) -> Prediction:
    """With what the allocator gives and holds of the memory in which `step` begins. Where it finds no room there, as
    predicted before."""
    try:
        needs = needed_in(step, plan.schedule(step), prediction.capacity_bytes)
    except OutOfMemory:
        return prediction
    return replace(prediction, allocated_bytes=needs.allocated_bytes, reserved_bytes=needs.reserved_bytes)


def needed_in(step: CapturedStep, schedule: Schedule, capacity_bytes: int) -> StepMemory:
    """What steps of this schedule need of the memory in which `step` begins, once that has come to rest; of what the
    allocator gives the most in any. Raises `OutOfMemory`."""
    memory = DeviceMemory(pool_of(step, capacity_bytes), addresses_of(step))
    needs = steady_memory(build_step(step, schedule), memory, successors_of(step))
    return needs.last._replace(allocated_bytes=max(one.allocated_bytes for one in needs.steps))
