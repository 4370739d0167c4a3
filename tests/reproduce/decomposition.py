"""What the largest misses are made of: the same numbers with one cause taken away at a time.

A cause is a rule (a prefetch that finds no room, the order of trials, weights in the account) or a part of the trace
(transform kernels). The factor of the transforms is what the builder's second check finds: published totals of VGG with
cuDNN 4 are 1/0.87 of the modelled ones. It was fitted to nothing here and is used for nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from vdnnsim.making import make_study
from vdnnsim.network import Kind
from vdnnsim.policies import Layout, feature_extraction_layers, make_plan, performance_optimal
from vdnnsim.program import MemoryClass
from vdnnsim.results import PolicyRun
from vdnnsim.trace import Trace
from vdnnsim_paper.bench import BASELINE, ORACLE, Bench
from vdnnsim_paper.config import Rules, parse_case, rules

GPU = "titan-x-maxwell"
TRANSFORMS = ("FFT", "FFT_TILING")
TRANSFORM_FACTOR = 1 / 0.87
ROOM = "16 GB"
"""A pool in which every prefetch of VGG-16 (256) finds room."""


class Part(NamedTuple):
    """A number with some causes taken away."""

    what: str
    value: float
    unit: str


def bench_of(case: str, capacity: str | None = None, transforms: float = 1.0, used: Rules | None = None) -> Bench:
    """A bench on the paper's GPU, with another capacity or slower transforms."""
    chosen = used or rules()
    found = parse_case(case)
    options = {"gpu": GPU, "weight_gradients": chosen.weight_gradients, "capacity": capacity}
    study = make_study(found.network, batch=found.batch, **options)  # type: ignore[arg-type]
    if transforms != 1.0:
        study = replace(study, trace=with_slower_transforms(study.trace, transforms))
    return Bench(found, chosen, study)


def with_slower_transforms(trace: Trace, factor: float) -> Trace:
    """The trace with every FFT and FFT_TILING kernel so many times as long."""
    rows = [
        row._replace(duration_ns=round(row.duration_ns * factor)) if row.algorithm in TRANSFORMS else row
        for row in trace.rows
    ]
    return Trace(trace.header, rows)


def loss_of_vgg16() -> list[Part]:
    """VGG-16 (256): the loss that vdnn-dyn has, and what it would be."""
    case, policy = "VGG-16 256", "vdnn-all(p)"
    slow = TRANSFORM_FACTOR
    return [
        Part("vdnn-dyn", _loss(bench_of(case), "vdnn-dyn"), "%"),
        Part("vdnn-all, fastest", _loss(bench_of(case), policy), "%"),
        Part("with room for every prefetch", _loss(bench_of(case, ROOM), policy), "%"),
        Part("with slower transforms", _loss(bench_of(case, transforms=slow), policy), "%"),
        Part("with room and slower transforms", _loss(bench_of(case, ROOM, slow), policy), "%"),
        Part("vdnn-conv, greedy", greedy_loss(bench_of(case)), "%"),
    ]


def _loss(bench: Bench, policy: str) -> float:
    return 100 * (1 - bench.performance(policy))


def greedy_loss(bench: Bench) -> float:
    """Loss of vdnn-conv with workspaces shrunk where they find no room: the trial that vdnn-dyn does not come to."""
    study = bench.study
    problem = study.problem()
    convs = feature_extraction_layers(study.network, (Kind.CONV,))
    fastest = make_plan(problem, Layout.LAYER_WISE, convs, performance_optimal(study.network, study.trace))
    own = study.run_plan("greedy", study.shrink_workspaces(fastest)).result.feature_extraction.iteration_time_ns
    return 100 * (1 - bench.run(ORACLE).result.feature_extraction.iteration_time_ns / own)


def first_group_stall(case: str = "VGG-416 32") -> list[Part]:
    """The very deep network's loss, and how much of it forward of its first group stalls for copies."""
    bench = bench_of(case)
    run = bench.run("vdnn-dyn")
    stalled = [step for step in run.steps if step.layer.startswith("conv1_") and not step.backward and step.stall_ns]
    total_ns = run.result.feature_extraction.iteration_time_ns
    first = max(stalled, key=lambda step: step.stall_ns)
    return [
        Part("loss", _loss(bench, "vdnn-dyn"), "%"),
        Part("stalls of the first group, forward", 100 * sum(step.stall_ns for step in stalled) / total_ns, "%"),
        Part("layers that stall there", len(stalled), ""),
        Part("one stall", first.stall_ns / 1e6, "ms"),
        Part("its kernel", first.kernel_ns / 1e6, "ms"),
    ]


def saved_without_weights(case: str, policy: str) -> Part:
    """Average memory saved where weights are in neither account."""
    bench = bench_of(case)
    own, base = (_average_less_weights(bench, bench.run(name)) for name in (policy, BASELINE))
    return Part(f"{case}, weights not counted", 100 * (1 - own / base), "%")


def _average_less_weights(bench: Bench, run: PolicyRun) -> int:
    resident = sum(
        record.size_bytes
        for record in run.timeline.memory
        if record.memory_class == MemoryClass.WEIGHTS and not record.in_classifier
    )
    return bench.average_bytes(run.result) - resident


def reuse_with_slower_transforms() -> Part:
    """Reuse distance of VGG-16 (64)'s first layer with slower transforms."""
    run = bench_of("VGG-16 64", transforms=TRANSFORM_FACTOR).run(BASELINE)
    return Part("reuse distance with slower transforms", run.result.layers[0].reuse_distance_ns / 1e6, "ms")
