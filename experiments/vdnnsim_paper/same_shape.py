"""How far traces built from layers of equal shape are from measured ones.

`vdnnsim_builder.same_shape` builds the traces of networks that were not measured from one that was. Here it builds
traces that were measured too, so that both can be compared: kernel by kernel, and by the iteration that each policy
makes of them.
"""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from vdnnsim import Network, Trace, find_trace, load_network, make_study
from vdnnsim_builder import build_same_shape
from vdnnsim_paper.bench import ORACLE, Bench, load_gpu
from vdnnsim_paper.config import Case, figure_config, rules

GPU = "h200"
LONG_NS = 100_000
"""Kernels from here on are compared one by one; shorter ones are a small part of an iteration."""


class Check(NamedTuple):
    """A measured trace, and the network from whose trace it is built as well. From its own: each layer gets the median
    of its equals."""

    network: str
    of: str
    batch: int
    math: str


CHECKS = (
    Check("vgg19", "vgg16", 64, "fp32"),
    Check("vgg19", "vgg16", 256, "fp32"),
    Check("vgg19", "vgg16", 256, "tf32"),
    Check("vgg116", "vgg116", 32, "fp32"),
    Check("vgg116", "vgg116", 32, "tf32"),
)


class Errors(NamedTuple):
    """Built over measured, less 1: of every kernel of 100 us or more, of those among them that are the fastest of their
    pass, and of the simulated iteration by policy. Kernels that were timed once only, as hopelessly slow, are left out.

    `same_kernels`: both have the same algorithms with the same workspaces. `same_plans`: under every policy the same
    maps leave, the same trials fit, and the peak is the same to the byte.
    """

    check: Check
    kernels: tuple[float, ...]
    fastest: tuple[float, ...]
    iterations: dict[str, float]
    same_kernels: bool
    same_plans: bool

    @property
    def worst_iteration(self) -> tuple[str, float]:
        """The policy whose iteration is farthest off."""
        return max(self.iterations.items(), key=lambda entry: abs(entry[1]))


def check_same_shape(check: Check) -> Errors:
    """Build a measured trace from another one, and compare both."""
    network, timed = (load_network(name, check.batch) for name in (check.network, check.of))
    measured = find_trace(network, GPU, check.math)
    built = build_same_shape(network, find_trace(timed, GPU, check.math), timed)
    kernels = {row[:3]: row for row in built.rows}
    errors = {
        row[:3]: kernels[row[:3]].duration_ns / row.duration_ns - 1
        for row in measured.rows
        if row.duration_ns >= LONG_NS and row.start_ns is not None
    }
    passes = dict.fromkeys((row.layer, row.pass_) for row in measured.rows)
    fastest = [measured.fastest(*found)[:3] for found in passes]
    iterations = {}
    same_plans = True
    benches = [_bench(check, network, trace) for trace in (measured, built)]
    for policy in (*figure_config("11").file.policies, ORACLE):
        was, now = (bench.run(policy) for bench in benches)
        iterations[policy] = now.result.iteration_time_ns / was.result.iteration_time_ns - 1
        same_plans &= was.plan.offload == now.plan.offload and was.result.peak_bytes == now.result.peak_bytes
        same_plans &= [trial.fits for trial in was.plan.trials] == [trial.fits for trial in now.plan.trials]
    return Errors(
        check,
        tuple(errors.values()),
        tuple(errors[found] for found in fastest if found in errors),
        iterations,
        _workspaces(measured) == _workspaces(built),
        same_plans,
    )


def _bench(check: Check, network: Network, trace: Trace) -> Bench:
    gpu = load_gpu(GPU, rules())
    study = make_study(network, gpu=gpu, math=check.math, trace=trace, weight_gradients=rules().weight_gradients)
    return Bench(Case(network.name, network.name, network.batch), rules(), study)


def _workspaces(trace: Trace) -> list[tuple[str, str, str, int]]:
    return sorted((row.layer, row.pass_, row.algorithm, row.workspace_bytes) for row in trace.rows)


def same_shape_markdown(found: list[Errors]) -> str:
    """One row per comparison."""
    rows = [
        "| built | from | kernels | median error | largest | largest of the fastest | iteration, worst policy |",
        "|---|---|---|---|---|---|---|",
    ]
    for errors in found:
        check = errors.check
        policy, iteration = errors.worst_iteration
        own = "its own medians" if check.of == check.network else check.of
        rows.append(
            f"| {check.network} ({check.batch}) {check.math} | {own} | {len(errors.kernels)} "
            f"| {100 * median(map(abs, errors.kernels)):.2f} % | {100 * max(map(abs, errors.kernels)):.1f} % "
            f"| {100 * max(map(abs, errors.fastest)):.1f} % | {100 * abs(iteration):.2f} % ({policy}) |"
        )
    return "\n".join(rows) + "\n"
