"""Policies of one study beside its oracle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Unpack

from vdnnsim.captured.step import CapturedStep
from vdnnsim.changes import MachineOptions
from vdnnsim.errors import InvalidInput, NoPlan
from vdnnsim.gpu import GpuProfile
from vdnnsim.making import make_study
from vdnnsim.network import Network
from vdnnsim.policies import (
    ONE_WAY_POLICIES,
    POLICIES,
    Policy,
    chosen_policies,
    make_policy,
)
from vdnnsim.program import WeightGradients
from vdnnsim.results import Comparison, Origin
from vdnnsim.study import Study
from vdnnsim.summary import against
from vdnnsim.trace import (
    Trace,
    weakest,
)


def compare(
    network: str | Path | Network | CapturedStep,
    *,
    batch: int | None = None,
    gpu: str | Path | GpuProfile,
    policies: str | Policy | Iterable[str | Policy] | None = None,
    capacity: int | str | None = None,
    link_bandwidth: int | str | None = None,
    math: str | None = None,
    pool: str | None = None,
    weight_gradients: str = WeightGradients.PER_LAYER,
    trace: str | Path | Trace | None = None,
    traces: str | Path | Iterable[str | Path] = (),
    **options: Unpack[MachineOptions],
) -> Comparison:
    """Run policies (all of the paper's where none are named) and compare them with the oracle.

    `network` and `gpu` are names or paths of TOML files, `network` also a captured step or its folder, which has batch,
    math and trace of its own; `capacity` and `link_bandwidth` are bytes and bytes per second, or text with units such
    as "12GB" and "16GB/s". `math` is fp32 and `pool` best-fit (of captured steps pytorch-caching) unless said
    otherwise. `trace` is the table of a trace of your own, or a `Trace`; `traces` are folders of them to look in before
    those that came with vdnnsim. `options` are what else is asked of the machine in place of its own, as in `Changes`:
    `link_bandwidth_out`, `link_bandwidth_in`, `link_latency`, `numa`, `compute_scale`, `host_scale`, `pinned_budget`.
    Raises `InvalidInput` (and its kinds) for whatever cannot be used.
    """
    study = make_study(
        network,
        batch=batch,
        gpu=gpu,
        capacity=capacity,
        link_bandwidth=link_bandwidth,
        math=math,
        pool=pool,
        weight_gradients=weight_gradients,
        trace=trace,
        traces=traces,
        **options,
    )
    if isinstance(policies, str) or not isinstance(policies, Iterable | None):
        policies = [policies]
    return compare_policies(study, policies)


def compare_policies(study: Study, policies: Iterable[str | Policy] | None = None) -> Comparison:
    """Run policies of a study, the paper's where none are named, and compare them with its oracle. What finds no plan
    is left out; raises `NoPlan` where nothing does."""
    usual = ONE_WAY_POLICIES if study.workload.one_way else POLICIES
    chosen, left_out = chosen_policies(usual if policies is None else policies, study.problem())
    if not chosen:
        raise InvalidInput(f"policies: found none, expected one or more of: {', '.join(POLICIES)}")
    oracle = study.run(make_policy("oracle"))
    found, failure = [], None
    for policy in chosen:
        try:
            found.append(oracle if policy.name == oracle.result.policy else study.run(policy))
        except NoPlan as error:
            failure = error
            left_out.append(str(error))
    if failure and not found:
        raise failure
    runs = tuple(replace(run, result=against(oracle.result, run.result, run.steps)) for run in found)
    return Comparison(
        study.workload.name,
        study.workload.batch,
        study.gpu.name,
        study.trace.header.math,
        study.pool,
        study.gpu.capacity_bytes,
        study.gpu.link.copy_out.bandwidth_bytes_per_s,
        study.gpu.link.copy_in.bandwidth_bytes_per_s,
        study.weight_gradients.value,
        runs,
        weakest(run.result.provenance for run in runs),
        dict(study.trace.header.sources),
        _origin(study),
        study.workload.captured,
        tuple(left_out),
    )


def _origin(study: Study) -> Origin:
    trace = study.trace
    return Origin(
        version("vdnnsim"),
        trace.header.title,
        study.workload.captured is not None or bool(trace.header.layers),
        study.workload.sha256,
        trace.sha256,
        study.gpu.sha256,
    )
