"""Does it pay, and what to set: the questions put one after the other, each to what answers it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from vdnnsim.advice.plans import ORACLE, Plans, shown_policies
from vdnnsim.advice.records import Advice, CapacityFlip, FittingPlan, LinkFlip, Point, Reach, fastest_without_offload
from vdnnsim.captured.step import CapturedStep
from vdnnsim.gpu import GpuProfile
from vdnnsim.program import WeightGradients
from vdnnsim.study import Study
from vdnnsim.sweep.solve import LINK_STEP_BYTES_PER_S, Answer, Setting, largest_of, smallest_link
from vdnnsim.trace import TraceShelf, weakest

ALLOWED_LOSS = 0.05
"""What may be lost to a link where no batch without offload is there to compare with."""


def advise(
    network: str | Path | CapturedStep,
    *,
    gpu: str | Path | GpuProfile,
    batch: int | None = None,
    capacity: int | str | None = None,
    link_bandwidth: int | str | None = None,
    math: str | None = None,
    pool: str | None = None,
    weight_gradients: str = WeightGradients.PER_LAYER,
    trace: Iterable[Path] = (),
    traces: Iterable[Path] = (),
) -> Advice:
    """Whether offloading pays on this GPU, and what to set: at `batch`, or else at the largest that any policy reaches.

    All is as in `compare`, but that `trace` are several tables, of one batch each. The advised plan needs no more than
    the capacity, and at a batch more capacity never gives a slower one. Raises `InvalidInput` (and its kinds) for what
    cannot be used, and where there is no trace at all.
    """
    setting = Setting(network, gpu, math, pool, weight_gradients, capacity, link_bandwidth, tuple(trace), tuple(traces))
    shelf = setting.shelf()

    @cache
    def study_at(wanted: int | None) -> Study:
        return setting.study(shelf, wanted)

    timed = setting.batches(shelf)
    if batch is None and len(timed) == 1:
        batch = timed[0]
    reaches = _reaches(setting, shelf, timed, study_at) if len(timed) > 1 else ()
    if batch is None and reaches:
        reached = max((reach.batch for reach in reaches if reach.batch), default=timed[0])
        batch, plans = _largest_planned(reached, timed[0], study_at)
    else:
        plans = Plans(study_at(batch))
    study = plans.at(plans.capacity_bytes)
    best, baseline = plans.best(plans.capacity_bytes), plans.baseline(plans.capacity_bytes)
    used = [plan.result.provenance for plan in (baseline, best) if plan]
    own = [Point(best.policy, best.budget_bytes, best.result.iteration_time_ns)] if best else []
    link = study.gpu.link
    return Advice(
        network=study.workload.name,
        batch=batch,
        between=(timed[0], timed[-1]) if batch not in timed and timed else None,
        gpu=study.gpu.name,
        gpu_named=study.gpu.name if isinstance(gpu, GpuProfile) else str(gpu),
        capacity_bytes=study.gpu.capacity_bytes,
        copy_out_bytes_per_s=link.copy_out.bandwidth_bytes_per_s,
        copy_in_bytes_per_s=link.copy_in.bandwidth_bytes_per_s,
        baseline=baseline,
        best=best,
        reaches=reaches,
        missing="" if reaches else _missing(setting, timed),
        capacity=CapacityFlip(plans.least_bytes, plans.step_bytes, plans.without_offload_bytes),
        link=_link_flip(plans, batch, baseline, best, fastest_without_offload(reaches)),
        points=(*plans.points(), *own),
        step=str(network) if setting.captures and not isinstance(network, CapturedStep) else "",
        provenance=weakest(used),
    )


def _reaches(
    setting: Setting, shelf: TraceShelf, timed: list[int], study_at: Callable[[int], Study]
) -> tuple[Reach, ...]:
    error = cache(lambda: setting.error(shelf, timed))
    policies = shown_policies(study_at(timed[0]))
    return tuple(_reach(name, largest_of(timed, study_at, name, None, error), timed) for name in policies)


def _reach(policy: str, answer: Answer, timed: list[int]) -> Reach:
    tried = next((tried for tried in answer.tried if tried.value == answer.value), None)
    if tried is None:
        return Reach(policy, None, None, False, answer.note)
    rate = tried.value * 1e9 / tried.iteration_time_ns if tried.iteration_time_ns else None
    return Reach(policy, tried.value, rate, tried.value not in timed, answer.note)


def _largest_planned(reached: int, least: int, study_at: Callable[[int], Study]) -> tuple[int, Plans]:
    """The largest batch, by steps of a fiftieth from what a policy reaches, with a plan that fits: plans are made for
    memories by steps, and the very last batch may lie between two."""
    plans = Plans(study_at(reached))
    while reached > least and plans.best(plans.capacity_bytes) is None:
        reached = max(least, reached * 98 // 100)
        plans = Plans(study_at(reached))
    return reached, plans


def _missing(setting: Setting, timed: list[int]) -> str:
    """What there would have to be for the largest batches to be known."""
    if setting.captures is not None:
        return "captures of several batches: vdnnsim capture SCRIPT --vary batch=8,16,32 --out DIR"
    return f"traces of other batches than {timed[0]}: vdnnsim calibrate trace NETWORK --batch N, and --traces DIR"


def _link_flip(
    plans: Plans, batch: int | None, baseline: FittingPlan, best: FittingPlan | None, reach: Reach | None
) -> LinkFlip | None:
    """Where the best plan gives as much as what trains without offload does; within `ALLOWED_LOSS` of the oracle where
    that is not known."""
    if best is None or not best.offloads:
        return None
    study = plans.at(best.budget_bytes)
    oracle_ns = study.run(ORACLE).result.iteration_time_ns
    loss = ALLOWED_LOSS
    if batch is not None and reach is not None and reach.units_per_s:
        loss = 1 - oracle_ns * reach.units_per_s / (batch * 1e9)
    elif baseline.budget_bytes <= plans.capacity_bytes:
        reach = Reach(baseline.policy, batch, None, False, "")
        loss = 1 - oracle_ns / baseline.result.iteration_time_ns
    if loss < 0:
        return LinkFlip(None, reach, loss, "not even with copies that take no time")
    step = max(LINK_STEP_BYTES_PER_S, study.gpu.link.copy_in.bandwidth_bytes_per_s // 50 // 10**8 * 10**8)
    answer = smallest_link(study, best.policy, loss=loss, step_bytes_per_s=step)
    return LinkFlip(answer.value, reach, loss, answer.note)
