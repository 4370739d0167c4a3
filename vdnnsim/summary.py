"""From what ran to one policy's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from vdnnsim.gpu import GpuProfile, Pinning
from vdnnsim.machines import OutOfMemory
from vdnnsim.metrics import (
    StepName,
    StepTime,
    loss_against,
    loss_to_copies,
    memory_use,
    power_use,
    reuse_distances_ns,
    spent,
    stalls_by_copy_ns,
    use_by_class,
    verdict,
)
from vdnnsim.policies import Plan
from vdnnsim.policies.workload import Workload
from vdnnsim.program import CopyIn, CopyOut, HostUpdate, Program
from vdnnsim.results import FeatureExtraction, LayerResult, PolicyResult
from vdnnsim.timeline import COPY_IN, COPY_OUT, StallRecord, Timeline
from vdnnsim.trace import Provenance, Trace, weakest


class Ran(NamedTuple):
    """One iteration: what ran, on what, when."""

    workload: Workload
    trace: Trace
    gpu: GpuProfile
    program: Program
    timeline: Timeline
    steps: tuple[StepTime, ...]


def summarise(
    policy: str, plan: Plan, ran: Ran, reason: str, needed_bytes: int, failure: OutOfMemory | None = None
) -> PolicyResult:
    """One policy's numbers, not yet set against the oracle's; `reason` says why it does not train, for a `failure`."""
    program, timeline, steps = ran.program, ran.timeline, ran.steps
    end_ns = timeline.iteration_time_ns
    classes = program.memory_classes
    use = memory_use(timeline.memory, len(steps), end_ns, classes)
    by_class = use_by_class(timeline.memory, len(steps), end_ns, classes)
    labels = _kernel_time_by_provenance(timeline, ran.trace)
    own = spent(timeline)
    provenance = weakest([*labels, *profile_labels(ran.gpu, program, ran.trace)])
    drawn = power_use(timeline, ran.gpu.power) if ran.gpu.power else None
    return PolicyResult(
        policy=policy,
        trainable=not reason,
        reason=reason,
        needed_bytes=needed_bytes,
        iteration_time_ns=timeline.iteration_time_ns,
        performance=1.0,
        stall_ns=sum(step.stall_ns for step in steps),
        spent=own,
        loss=loss_to_copies(own),
        peak_bytes=use.peak_bytes,
        average_bytes=use.average_bytes,
        average_bytes_per_step=use.average_bytes_per_step,
        pool_high_water_bytes=timeline.pool_high_water_bytes,
        largest_hole_bytes=0 if plan.endless or reason else timeline.largest_hole_bytes,
        bytes_by_class_at_peak=dict(use.by_class_at_peak),
        peak_bytes_by_class=by_class.peak_bytes,
        average_bytes_by_class=by_class.average_bytes,
        average_bytes_per_step_by_class=by_class.average_bytes_per_step,
        offloaded_bytes=_copied_bytes(timeline, COPY_OUT),
        prefetched_bytes=_copied_bytes(timeline, COPY_IN),
        pinned_host_bytes=ran.gpu.host.pinning.taken_bytes(program.pinned_sizes_bytes.values()),
        nvme_bytes=program.nvme_bytes,
        nvme_stall_ns=sum(stall.duration_ns for stall in timeline.stalls if stall.buffer in program.staging),
        pinning_time_ns=_pinning_ns(ran.gpu.host.pinning, program),
        feature_extraction=_feature_extraction(timeline, steps, classes),
        verdict=verdict(steps, own, loss_to_copies(own), failure.in_short if failure else ""),
        provenance=provenance,
        kernel_time_ns_by_provenance=labels,
        deferred_prefetches=len(plan.deferred),
        layers=_layer_results(ran.workload, plan, timeline, steps),
        trials=plan.trials,
        failure=failure,
        power=drawn,
        power_provenance=weakest([provenance, ran.gpu.provenance.get("power")]) if drawn else None,
    )


def against(oracle: PolicyResult, own: PolicyResult, steps: Sequence[StepTime]) -> PolicyResult:
    """A policy's numbers set against the oracle's."""
    inner, best = own.feature_extraction, oracle.feature_extraction
    loss = loss_against(own.spent, oracle.spent)
    return replace(
        own,
        performance=_ratio(oracle.iteration_time_ns, own.iteration_time_ns),
        loss=loss,
        verdict=verdict(
            steps,
            own.spent,
            loss,
            own.failure.in_short if own.failure else "",
            str(own.pace) if own.pace and own.pace.bound else "",
            one_way=own.pace is not None,
        ),
        feature_extraction=replace(inner, performance=_ratio(best.iteration_time_ns, inner.iteration_time_ns)),
        provenance=weakest([own.provenance, oracle.provenance]),  # performance rests on both
    )


def _ratio(best_ns: int, own_ns: int) -> float:
    return best_ns / own_ns if own_ns else 1.0


def profile_labels(gpu: GpuProfile, program: Program, trace: Trace) -> list[str | None]:
    """The label of each part of a GPU's profile that a program's numbers rest on; None for a part that has none.

    The link's slowdown of copies that go both ways at once counts as soon as a program has copies of both kinds, what
    copies do to kernels where the trace has kernels of such a class. An engine that compresses copies is nowhere,
    and what page faults take is derived.
    """
    kinds = {type(command) for command in program.commands}
    ways = [part for kind, part in ((CopyOut, "link.copy_out"), (CopyIn, "link.copy_in")) if kind in kinds]
    both = ["link.both_ways"] if len(ways) == 2 else []
    late = [] if gpu.host.after_wait is None else ["host.after_wait"]
    slowed = ["link.kernels"] if ways and any(row.kind in gpu.link.kernels for row in trace.rows) else []
    nvme = ["nvme"] if program.staging else []
    optimiser = ["host.optimiser"] if HostUpdate in kinds else []
    pinned = ["pinned"] if ways and gpu.host.pinning.in_step else []
    engine = [Provenance.MODELLED] if (program.compression or program.paging) and ways else []
    parts = ("memory", "host", *late, *ways, *both, *slowed, *pinned, *nvme, *optimiser)
    return [*engine, *(gpu.provenance.get(part) for part in parts)]


def _pinning_ns(pinning: Pinning, program: Program) -> int:
    """What pinning takes before training; what it takes in the step is in the iteration."""
    return 0 if pinning.in_step else pinning.cost_ns(program.pinned_sizes_bytes.values())


def step_names(program: Program) -> list[StepName]:
    """The program's steps as metrics know them."""
    return [StepName(step.layer, step.backward, step.in_classifier) for step in program.steps]


def _copied_bytes(timeline: Timeline, direction: str) -> int:
    return sum(copy.size_bytes for copy in timeline.copies if copy.direction == direction)


def _kernel_time_by_provenance(timeline: Timeline, trace: Trace) -> dict[str, int]:
    times: dict[str, int] = {}
    for kernel in timeline.kernels:
        label = trace.row(kernel.layer, kernel.pass_, kernel.algorithm).provenance.value
        times[label] = times.get(label, 0) + kernel.end_ns - kernel.begin_ns
    return dict(sorted(times.items()))


def _feature_extraction(timeline: Timeline, steps: Sequence[StepTime], classes: Sequence[str]) -> FeatureExtraction:
    own = [step for step in steps if not step.in_classifier]
    records = [record for record in timeline.memory if not record.in_classifier]
    use = memory_use(records, len(steps), timeline.iteration_time_ns, classes)
    return FeatureExtraction(
        sum(step.duration_ns for step in own),
        1.0,
        sum(step.stall_ns for step in own),
        use.peak_bytes,
        use.average_bytes,
        use.average_bytes_per_step,
        use.by_class_at_peak,
        *use_by_class(records, len(steps), timeline.iteration_time_ns, classes),
    )


def _layer_results(
    workload: Workload, plan: Plan, timeline: Timeline, steps: Sequence[StepTime]
) -> tuple[LayerResult, ...]:
    distances = reuse_distances_ns(steps)
    stalls: dict[str, list[StallRecord]] = {layer.name: [] for layer in workload.layers}
    for stall in timeline.stalls:
        stalls[steps[stall.step].layer].append(stall)
    own: dict[str, list[StepTime]] = {layer.name: [] for layer in workload.layers}
    for step in steps:
        own[step.layer].append(step)
    return tuple(
        LayerResult(
            layer.name,
            str(layer.kind),
            workload.in_classifier(layer.name),
            sum(step.duration_ns for step in own[layer.name] if not step.backward),
            sum(step.duration_ns for step in own[layer.name] if step.backward),
            sum(step.kernel_ns for step in own[layer.name]),
            sum(step.stall_ns for step in own[layer.name]),
            sum(step.copied_out_bytes for step in own[layer.name]),
            sum(step.copied_in_bytes for step in own[layer.name]),
            distances.get(layer.name, 0),
            {
                pass_: plan.algorithms[layer.name, pass_]
                for pass_ in layer.passes
                if (layer.name, pass_) in plan.algorithms
            },
            stalls_by_copy_ns(stalls[layer.name]),
        )
        for layer in workload.layers
    )
