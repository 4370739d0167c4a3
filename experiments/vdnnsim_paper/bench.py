"""One case of the evaluation, ready to be measured: every policy is run once, when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache

from vdnnsim import (
    GpuProfile,
    Layout,
    Policy,
    PolicyResult,
    PolicyRun,
    Provenance,
    Study,
    Trace,
    TraceHeader,
    VdnnDyn,
    list_traces,
    load_profile,
    make_policy,
    make_study,
    weakest,
)
from vdnnsim_builder import perturbed
from vdnnsim_paper.config import Case, Rules

BASELINE = "baseline(p)"
"""What memory is saved against: network-wide allocation with the fastest algorithms."""
ORACLE = "oracle"


@dataclass
class Bench:
    """A case on a GPU under some rules; `sample` 0 is the trace as it is, others are moved within its uncertainty."""

    case: Case
    rules: Rules
    study: Study
    sample: int = 0
    _runs: dict[str, PolicyRun] = field(default_factory=dict)

    def run(self, policy: str) -> PolicyRun:
        """One iteration under the policy of this name."""
        if policy not in self._runs:
            self._runs[policy] = self.study.run(self._policy(policy))
        return self._runs[policy]

    @property
    def provenance(self) -> Provenance:
        """The weakest label of every run so far."""
        return weakest(run.result.provenance for run in self._runs.values())

    @property
    def power_provenance(self) -> Provenance:
        """Where the GPU's power figures are from."""
        return weakest([self.study.gpu.provenance.get("power")])

    def _policy(self, name: str) -> Policy:
        if name == "vdnn-dyn":
            return VdnnDyn(no_offload=Layout(self.rules.no_offload))
        return make_policy(name)

    def average_bytes(self, result: PolicyResult) -> int:
        """Average memory, of the scope and over what the rules say."""
        where = result.feature_extraction if self.rules.scope == "feature-extraction" else result
        return where.average_bytes_per_step if self.rules.average == "steps" else where.average_bytes

    def maximum_bytes(self, result: PolicyResult) -> int:
        where = result.feature_extraction if self.rules.scope == "feature-extraction" else result
        return where.peak_bytes

    def saved(self, policy: str) -> float:
        """Average memory that a policy saves against the baseline, as a ratio."""
        baseline = self.average_bytes(self.run(BASELINE).result)
        return 1 - self.average_bytes(self.run(policy).result) / baseline

    def performance(self, policy: str) -> float:
        """The oracle's time over the policy's, of the layers in scope."""
        best, own = (self._time_ns(self.run(name).result) for name in (ORACLE, policy))
        return best / own

    def _time_ns(self, result: PolicyResult) -> int:
        if self.rules.scope == "feature-extraction":
            return result.feature_extraction.iteration_time_ns
        return result.iteration_time_ns


def make_bench(case: Case, gpu: GpuProfile, math: str, rules: Rules, sample: int = 0, samples: int = 0) -> Bench:
    """A bench on the traces that came with the package, moved by sample number `sample` of `samples`.

    Raises `MissingTrace`.
    """
    study = _study(case.network, case.batch, gpu.name, gpu.capacity_bytes, math, rules.weight_gradients)
    if study.gpu != gpu:
        study = replace(study, gpu=gpu)
    trace = study.trace
    if sample:
        trace = perturbed(trace, study.network, sample, samples, rules.seed)
    if rules.fastest_within:
        trace = without_near_ties(trace, rules.fastest_within)
    return Bench(case, rules, study.timed_by(trace), sample)


@lru_cache(maxsize=1)
def _study(network: str, batch: int, gpu: str, capacity: int, math: str, weight_gradients: str) -> Study:
    """Of the last case: its samples come one after the other, and share what was read and fitted."""
    return make_study(network, batch=batch, gpu=gpu, capacity=capacity, math=math, weight_gradients=weight_gradients)


def without_near_ties(trace: Trace, within: float) -> Trace:
    """The trace without each row that another of the same pass nearly equals in time with less workspace."""
    kept = []
    for row in trace.rows:
        others = trace.choices(row.layer, row.pass_)
        fastest_ns = min(other.duration_ns for other in others)
        near = [other for other in others if other.duration_ns <= (1 + within) * fastest_ns]
        if row not in near or row.workspace_bytes == min(other.workspace_bytes for other in near):
            kept.append(row)
    return Trace(trace.header, kept)


def load_gpu(name: str, rules: Rules) -> GpuProfile:
    """The GPU with the pool that the rules give it."""
    profile = load_profile(name)
    capacity = rules.gpus[name].capacity
    return profile.with_capacity(capacity) if capacity else profile


def find_headers(cases: Iterable[Case], gpu: str, math: str) -> dict[Case, TraceHeader | None]:
    """What the trace of each case says of itself, or None where there is none on this GPU."""
    headers = (header for _, header in list_traces() if (header.gpu, header.math) == (gpu, math))
    there = {(header.network, header.batch): header for header in headers}
    return {case: there.get((case.network, case.batch)) for case in cases}
