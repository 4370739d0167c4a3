"""`measure`: steps trained by plans in the user's own way, each beside what was predicted of it before it ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vdnnsim.calibration.bench import open_bench
from vdnnsim.calibration.link import Copies, measure_copies, memory_for_copies
from vdnnsim.calibration.progress import OnProgress, silent
from vdnnsim.calibration.step_records import Prediction, StepRecord, summary_of, table_of
from vdnnsim.captured import CapturedStep, PlanFile, schedule_of
from vdnnsim.comparing import compare_policies
from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.making import study_of_step
from vdnnsim.policies import Policy
from vdnnsim.pytorch.devices import CaptureDevice, open_device
from vdnnsim.pytorch.digests import model_sha256
from vdnnsim.pytorch.holding import model_holds
from vdnnsim.pytorch.offloading import pinned_memory
from vdnnsim.pytorch.step_bench import step_bench
from vdnnsim.pytorch.user_step import Optimizers, Step

if TYPE_CHECKING:
    from vdnnsim.results import PolicyResult

_LARGEST_COPY_BYTES = {"cuda": 256 << 20, "cpu": 1 << 20}


@dataclass(frozen=True)
class Measurement:
    """Cases in the order of their policies, and how they were measured. Printed, it is a table."""

    records: tuple[StepRecord, ...]
    conditions: dict[str, str]

    def __str__(self) -> str:
        return table_of(self.records, self.conditions)

    def __repr__(self) -> str:
        return f"<Measurement: {summary_of(self.records)}>"


def measure(
    step: Step,
    model: torch.nn.Module,
    trace: CapturedStep,
    *,
    gpu: str | Path | GpuProfile,
    policies: Iterable[str | Policy] | None = None,
    capacity: int | str | None = None,
    optimizer: Optimizers | None = None,
    own_link: bool = True,
    progress: OnProgress = silent,
) -> Measurement:
    """Train by the plans of these policies and set what is measured beside what is predicted.

    `trace` is the captured step of this model, `gpu` the profile of the device; its link is measured anew first, unless
    `own_link` is False. `capacity` is what plans are made for, and caps what PyTorch's allocator may hold of the GPU.
    Some twenty steps are trained for each policy; parameters, buffers, gradients and random states are as before
    afterwards, with an `optimizer` its state too.

    Raises `InvalidInput` for a trace of another model, PyTorch or GPU, and for policies that there are not;
    `StepFailed` for a step that raises.
    """
    profile = gpu if isinstance(gpu, GpuProfile) else load_profile(gpu)
    device = open_device(None, model)
    check_step_of(trace, model)
    if own_link:
        progress(0, 1, "link")
        link = copies_now(device).link
        profile = replace(profile, link=replace(link, kernels=profile.link.kernels))
    if capacity is not None:
        profile = profile.with_capacity(capacity)
    cases = predicted(trace, profile, policies)
    records = []
    with (
        pinned_memory(device.torch_device, (plan for _, plan in cases)) as pinned,
        step_bench(step, model, trace, optimizer, device) as bench,
    ):
        for number, (prediction, plan) in enumerate(cases):
            progress(number, len(cases), prediction.policy)
            records.append(bench.case(prediction, plan, capped=capacity is not None, pinned=pinned))
    return Measurement(tuple(records), device.conditions())


def check_step_of(step: CapturedStep, model: torch.nn.Module) -> None:
    """Raise `InvalidInput`, with the first difference, where the step was captured of another model or PyTorch."""
    plan = PlanFile.of(step, "", schedule_of(step, {}), 0, 0)
    plan.check_model(str(torch.__version__), model_sha256(model), model_holds(model))


def copies_now(device: CaptureDevice) -> Copies:
    """The device's link as it is now. Raises `DeviceRefused` where memory for that is missing."""
    kind = device.torch_device.type
    with open_bench(kind) as bench:
        return measure_copies(bench, memory_for_copies(bench, _LARGEST_COPY_BYTES[kind]))


def predicted(
    step: CapturedStep, profile: GpuProfile, policies: Iterable[str | Policy] | None = None
) -> list[tuple[Prediction, PlanFile]]:
    """What is known of each case before any is measured, with its plan. Raises `InvalidInput`."""
    comparison = compare_policies(study_of_step(step, profile), policies)
    return [(_prediction(step, profile, result), result.plan) for result in comparison]


def _prediction(step: CapturedStep, profile: GpuProfile, result: PolicyResult) -> Prediction:
    low_ns, high_ns = result.band or (None, None)
    memory, pace = result.memory, result.pace
    assert memory is not None
    assert pace is not None
    return Prediction(
        step.header.name,
        profile.name,
        result.policy,
        step.header.order_sha256,
        profile.capacity_bytes,
        result.iteration_time_ns,
        low_ns,
        high_ns,
        pace.bound,
        result.trainable,
        memory.requested_bytes,
        memory.allocated_bytes,
        memory.reserved_bytes,
        result.offloaded_bytes,
    )
