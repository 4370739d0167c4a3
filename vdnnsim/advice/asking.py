"""Does it pay, and what to set: the questions put one after the other, each to what answers it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Unpack

from vdnnsim.advice.plans import Plans, fitted
from vdnnsim.advice.reaching import Reaching
from vdnnsim.advice.records import Advice, CapacityFlip, FittingPlan, LinkFlip, Point, Reach, fastest_without_offload
from vdnnsim.captured.captures import BATCH, LENGTHS, tokens_of
from vdnnsim.captured.several import folder_of
from vdnnsim.captured.step import CapturedStep
from vdnnsim.changes import MachineOptions
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.policies import Plan
from vdnnsim.program import WeightGradients
from vdnnsim.study import Study
from vdnnsim.sweep.solve import LINK_STEP_BYTES_PER_S, Setting, last_good
from vdnnsim.trace import weakest

ALLOWED_LOSS = 0.05
"""What may be lost to a link where nothing without offload is there to compare with."""


def advise(
    network: str | Path | CapturedStep,
    *,
    gpu: str | Path | GpuProfile,
    batch: int | None = None,
    tokens: int | None = None,
    capacity: int | str | None = None,
    link_bandwidth: int | str | None = None,
    math: str | None = None,
    pool: str | None = None,
    weight_gradients: str = WeightGradients.PER_LAYER,
    trace: Iterable[Path] = (),
    traces: Iterable[Path] = (),
    **options: Unpack[MachineOptions],
) -> Advice:
    """Whether offloading pays on this GPU, and what to set: at `batch`, or else at the largest that any policy reaches;
    of captured steps that vary the length of a sequence, at `tokens`, or else at the longest.

    All is as in `compare`, but that `trace` are several tables, of one batch each. The advised plan needs no more than
    the capacity, and at a batch more capacity never gives a slower one. Raises `InvalidInput` (and its kinds) for what
    cannot be used, and where there is no trace at all.
    """
    setting = Setting(
        network, gpu, math, pool, weight_gradients, capacity, link_bandwidth, tuple(trace), tuple(traces),
        (BATCH, *LENGTHS), options,
    )  # fmt: skip
    shelf = setting.shelf()
    varied = setting.captures.varied if setting.captures else BATCH
    value = _value(varied, batch, tokens)
    study_at = cache(lambda wanted: setting.study(shelf, wanted))
    timed = setting.batches(shelf)
    if value is None and len(timed) == 1:
        value = timed[0]
    if value is not None:
        study_at(value)  # a fault of it is told before anything is searched
    reaching = Reaching(timed, study_at, lambda wanted: _units(study_at(wanted))[1])
    reaches = reaching.reaches()
    if value is None and reaches:
        reached = max((reach.value for reach in reaches if reach.value), default=timed[0])
        value, plans = _largest_planned(reached, timed[0], study_at)
    else:
        plans = Plans(study_at(value))
    study = plans.at(plans.capacity_bytes)
    unit, per_iteration = _units(study)
    best, baseline = plans.best(plans.capacity_bytes), plans.baseline(plans.capacity_bytes)
    used = [plan.result.provenance for plan in (baseline, best) if plan]
    own = [Point(best.policy, best.budget_bytes, best.result.iteration_time_ns)] if best else []
    link = study.gpu.link
    return Advice(
        network=study.workload.name,
        varied=varied,
        value=value,
        unit=unit,
        per_iteration=per_iteration,
        between=(timed[0], timed[-1]) if value not in timed and timed else None,
        gpu=study.gpu.name,
        gpu_named=study.gpu.name if isinstance(gpu, GpuProfile) else str(gpu),
        capacity_bytes=study.gpu.capacity_bytes,
        copy_out_bytes_per_s=link.copy_out.bandwidth_bytes_per_s,
        copy_in_bytes_per_s=link.copy_in.bandwidth_bytes_per_s,
        baseline=baseline,
        best=best,
        reaches=reaches,
        error=setting.error(shelf, timed) if any(reach.interpolated for reach in reaches) else "",
        missing="" if reaches else _missing(setting, timed),
        flip=reaching.flip(reaches, varied == BATCH),
        capacity=CapacityFlip(plans.least_bytes, plans.step_bytes, plans.without_offload_bytes),
        link=_link_flip(
            plans, per_iteration, baseline, best, fastest_without_offload(reaches) if varied == BATCH else None
        ),
        points=(*plans.points(), *own),
        step=_folder(network, value) if setting.captures else "",
        provenance=weakest(used),
    )


def _largest_planned(reached: int, least: int, study_at: Callable[[int], Study]) -> tuple[int, Plans]:
    """The largest value, by steps of a fiftieth from what a policy reaches, with a plan that fits: plans are made for
    memories by steps, and the very last value may lie between two."""
    plans = Plans(study_at(reached))
    while reached > least and plans.best(plans.capacity_bytes) is None:
        reached = max(least, reached * 98 // 100)
        plans = Plans(study_at(reached))
    return reached, plans


def _value(varied: str, batch: int | None, tokens: int | None) -> int | None:
    """What is asked about of what is varied. Raises `InvalidInput` for the other one."""
    asked, other, name = (batch, tokens, "tokens") if varied == BATCH else (tokens, batch, BATCH)
    if other is not None:
        raise InvalidInput(f"{name}: found {other}, expected none: what varies here is {varied}")
    return asked


def _folder(network: str | Path | CapturedStep, value: int | None) -> str:
    """That of the captured step, where training can take a plan of it."""
    return "" if isinstance(network, CapturedStep) else str(folder_of(network, value) or "")


def _units(study: Study) -> tuple[str, int | None]:
    """What is trained, and how many of it in an iteration."""
    batch = study.workload.batch
    if not study.workload.one_way:
        return "images", batch
    tokens = tokens_of(study.workload.step)
    return ("samples", batch) if tokens is None or batch is None else ("tokens", batch * tokens)


def _missing(setting: Setting, timed: list[int]) -> str:
    """What there would have to be for the largest batches to be known."""
    if setting.captures is not None:
        return "captures of several batches: vdnnsim capture SCRIPT --vary batch=8,16,32 --out DIR"
    return f"traces of other batches than {timed[0]}: vdnnsim calibrate trace NETWORK --batch N, and --traces DIR"


def _link_flip(
    plans: Plans, units: int | None, baseline: FittingPlan, best: FittingPlan | None, reach: Reach | None
) -> LinkFlip | None:
    """With which the best plan, made for the link there is, gives as much as what trains without offload does; or is
    within `ALLOWED_LOSS` of the oracle, where that is not known."""
    if best is None or not best.offloads:
        return None
    study = plans.at(best.budget_bytes)
    oracle_ns = plans.oracle.iteration_time_ns
    loss = ALLOWED_LOSS
    if units is not None and reach is not None and reach.units_per_s:
        loss = 1 - oracle_ns * reach.units_per_s / (units * 1e9)
    elif baseline.budget_bytes <= plans.capacity_bytes:
        reach = Reach(baseline.policy, None, None, False)
        loss = 1 - oracle_ns / baseline.result.iteration_time_ns
    if loss < 0:
        return LinkFlip(None, reach, loss, "not even with copies that take no time")
    plan = fitted(study, best.policy)
    assert plan is not None  # it was run so
    bytes_per_s, note = _slowest_link(study, plan, oracle_ns / (1 - loss))
    return LinkFlip(bytes_per_s, reach, loss, note)


def _slowest_link(study: Study, plan: Plan, most_ns: float) -> tuple[int | None, str]:
    """Behind which a plan takes no more time, as `smallest_link` finds it of a policy; with what bounds it."""

    time_ns = SimulatedMachine(study.trace, study.gpu).time_behind(study.prepare(plan).program)

    def enough(bytes_per_s: int) -> bool:
        return time_ns(study.gpu.with_link_bandwidth(bytes_per_s)) <= most_ns

    step = max(LINK_STEP_BYTES_PER_S, study.gpu.link.copy_in.bandwidth_bytes_per_s // 50 // 10**8 * 10**8)
    high = study.gpu.memory_bandwidth_bytes_per_s // step * step
    if not enough(high):
        return None, "not even behind a link as fast as the device memory"
    if enough(step):
        return step, "the slowest that is tried"
    return last_good(enough, step, high, step), f"to {step / 1e9:g} GB/s"
