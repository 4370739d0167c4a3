"""The same training on several GPUs of one host at once, whose copies share the host's links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vdnnsim.comparing import compare_policies
from vdnnsim.errors import InvalidInput, check_known
from vdnnsim.machines.simulated_host import SimulatedHost
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.metrics import step_times
from vdnnsim.policies import Policy
from vdnnsim.result_rows import power_fields
from vdnnsim.results import Comparison, PolicyResult, PolicyRun
from vdnnsim.study import Study
from vdnnsim.summary import Ran, against, step_names, summarise
from vdnnsim.topology import Topology, load_topology
from vdnnsim.units import parse_bandwidth, parse_duration

if TYPE_CHECKING:
    import pandas as pd


class Start(StrEnum):
    """When the GPUs begin: all at once, or every second one half an iteration later than the others."""

    TOGETHER = "together"
    STAGGERED = "staggered"


@dataclass(frozen=True, slots=True)
class OnGpu:
    """A policy's iteration on one GPU of a host, which begins so much later than the first and counts from there;
    `link` is the shared link that the GPU hangs on."""

    gpu: int
    link: str
    start_ns: int
    run: PolicyRun

    @property
    def result(self) -> PolicyResult:
        """The numbers of that iteration."""
        return self.run.result


@dataclass(frozen=True, slots=True)
class TogetherRun:
    """A policy on all GPUs of a host at once, and `alone` on one of them while the others are idle. `all_reduce_ns` is
    what summing the gradients takes when the last GPU is through; it uses no link of the host."""

    alone: PolicyResult
    gpus: tuple[OnGpu, ...]
    all_reduce_ns: int

    @property
    def policy(self) -> str:
        return self.alone.policy

    @property
    def slowest(self) -> OnGpu:
        """The GPU whose iteration takes longest, the first of those."""
        return max(self.gpus, key=lambda one: one.result.iteration_time_ns)

    @property
    def fastest(self) -> OnGpu:
        """The GPU whose iteration is shortest, the first of those."""
        return min(self.gpus, key=lambda one: one.result.iteration_time_ns)

    @property
    def longer(self) -> float:
        """By what share the slowest GPU's iteration takes longer than alone."""
        alone_ns = self.alone.iteration_time_ns
        return self.slowest.result.iteration_time_ns / alone_ns - 1 if alone_ns else 0.0

    @property
    def step_ns(self) -> int:
        """From the begin of the first GPU's iteration until the last is through and the gradients are summed."""
        return max(one.start_ns + one.result.iteration_time_ns for one in self.gpus) + self.all_reduce_ns


@dataclass(frozen=True, slots=True)
class TogetherComparison:
    """Several policies on several GPUs of a host; `alone` compares them on one GPU by itself. Printed it is the table
    that the command prints."""

    alone: Comparison
    topology: Topology
    start: Start
    runs: tuple[TogetherRun, ...]

    def __getitem__(self, policy: str) -> TogetherRun:
        """The run of the policy of this name. Raises `KeyError`, which names those there are."""
        for run in self.runs:
            if run.policy == policy:
                return run
        raise KeyError(f"no run of '{policy}'; there are: {', '.join(run.policy for run in self.runs)}")

    def __iter__(self) -> Iterator[TogetherRun]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def __str__(self) -> str:
        """What the command prints."""
        from vdnnsim.report.together import together_text  # upwards, since a result shows itself

        return together_text(self)

    def named_runs(self) -> Iterator[PolicyRun]:
        """Every run on every GPU, named by both, for timelines; each counts from its GPU's own begin."""
        for run in self.runs:
            for one in run.gpus:
                yield replace(one.run, result=replace(one.result, policy=f"{run.policy}, GPU {one.gpu}"))

    def rows(self) -> list[dict[str, Any]]:
        """One row per policy and GPU."""
        return [_row(self, run, one) for run in self.runs for one in run.gpus]

    def to_frame(self) -> pd.DataFrame:
        """The same as a frame, one column per number."""
        import pandas as pd

        return pd.DataFrame(self.rows())


def compare_together(
    study: Study,
    gpus: int,
    topology: str | Path | Topology,
    policies: Iterable[str | Policy] | None = None,
    *,
    start: str = Start.TOGETHER,
    all_reduce: str | None = None,
) -> TogetherComparison:
    """Run policies, the paper's where none are named, on so many GPUs of a host at once, each with its own copy of the
    program that is planned for one by itself.

    `topology` is one by name or from a TOML file, or a `Topology`; its first GPUs take part. `all_reduce` says what
    summing the gradients takes: a time such as "5ms", or what each GPU sends and receives, such as "450GB/s", for a
    ring: 2 (n - 1) / n times the bytes of the weights over that. It is added behind the slowest GPU. Raises
    `InvalidInput` (and its kinds) for whatever cannot be used.
    """
    check_known("start", start, [choice.value for choice in Start])
    host = (topology if isinstance(topology, Topology) else load_topology(topology)).first(gpus)
    all_reduce_ns = all_reduce_time_ns(study, gpus, all_reduce)
    alone = compare_policies(study, policies)
    oracle = study.run("oracle").result
    runs = tuple(_together(study, run, oracle, host, Start(start), all_reduce_ns) for run in alone.runs)
    return TogetherComparison(alone, host, Start(start), runs)


def all_reduce_time_ns(study: Study, gpus: int, spec: str | None) -> int:
    """What summing the gradients of so many GPUs takes, as `compare_together` has it. Raises `InvalidInput`."""
    if spec is None:
        return 0
    if "/" not in spec:
        return parse_duration(spec, "all-reduce")
    bandwidth = parse_bandwidth(spec, "all-reduce")
    if study.workload.one_way:
        raise InvalidInput(
            f"all-reduce: found {spec} for a captured step, of which the gradients' bytes are not told; expected a "
            "time, such as 5ms"
        )
    return ring_ns(study.network.weights_bytes, gpus, bandwidth)


def ring_ns(size_bytes: int, gpus: int, bytes_per_s: int) -> int:
    """How long a ring takes to sum so many bytes on each of some GPUs: each sends 2 (n - 1) / n of them (Patarasuk and
    Yuan, *Bandwidth optimal all-reduce algorithms*, 2009), rounded up to a nanosecond."""
    return -(-2 * (gpus - 1) * size_bytes * 10**9 // (gpus * bytes_per_s))


def starts_of(gpus: int, start: Start, iteration_ns: int) -> tuple[int, ...]:
    """When each of so many GPUs begins, in nanoseconds after the first."""
    later_ns = iteration_ns // 2 if start is Start.STAGGERED else 0
    return tuple(gpu % 2 * later_ns for gpu in range(gpus))


def _together(
    study: Study, run: PolicyRun, oracle: PolicyResult, host: Topology, start: Start, all_reduce_ns: int
) -> TogetherRun:
    alone = run.result
    roomy = run.plan.endless or not alone.trainable
    capacity_bytes = ENDLESS_BYTES if roomy else study.gpu.capacity_bytes
    starts_ns = starts_of(len(host.gpus), start, alone.iteration_time_ns)
    machine = SimulatedHost(study.trace, study.gpu, host)
    timelines = machine.run(run.program, partial(study.workload.memory, study.pool, capacity_bytes), starts_ns)
    known: dict[int, PolicyRun] = {}
    for timeline in timelines:
        if id(timeline) not in known:
            steps = step_times(timeline, step_names(run.program))
            ran = Ran(study.workload, study.trace, study.gpu, run.program, timeline, steps)
            own = summarise(alone.policy, run.plan, ran, alone.reason, alone.needed_bytes, alone.failure)
            own = against(oracle, replace(own, memory=alone.memory), steps)
            known[id(timeline)] = replace(run, result=own, timeline=timeline, steps=steps)
    on = tuple(
        OnGpu(gpu, host.gpus[gpu], start_ns, known[id(timeline)])
        for gpu, (start_ns, timeline) in enumerate(zip(starts_ns, timelines, strict=True))
    )
    return TogetherRun(alone, on, all_reduce_ns)


def _row(comparison: TogetherComparison, run: TogetherRun, one: OnGpu) -> dict[str, Any]:
    alone, result = comparison.alone, one.result
    return {
        "network": alone.network,
        "batch": alone.batch,
        "gpu": alone.gpu,
        "math": alone.math,
        "topology": comparison.topology.name,
        "gpus": len(run.gpus),
        "start": comparison.start.value,
        "policy": run.policy,
        "trainable": run.alone.trainable,
        "number": one.gpu,
        "link": one.link,
        "start_ns": one.start_ns,
        "iteration_time_ns": result.iteration_time_ns,
        "alone_ns": run.alone.iteration_time_ns,
        "stall_ns": result.stall_ns,
        "performance": result.performance,
        **dict(power_fields(result)),
        "peak_bytes": result.peak_bytes,
        "offloaded_bytes": result.offloaded_bytes,
        "slowest": one is run.slowest,
        "all_reduce_ns": run.all_reduce_ns,
        "step_ns": run.step_ns,
        "topology_sha256": comparison.topology.sha256,
    }
