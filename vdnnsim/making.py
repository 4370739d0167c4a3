"""From names, files and objects to a study: the one place where network or captured step, trace, GPU and pool meet."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Unpack

from vdnnsim.captured.captures import captures_of
from vdnnsim.captured.shipped import folder_of, shipped_as, shipped_steps
from vdnnsim.captured.step import CapturedStep
from vdnnsim.captured.trace import trace_of_step
from vdnnsim.catalog import data_directory
from vdnnsim.changes import Changes, MachineOptions
from vdnnsim.errors import InvalidInput, UnknownName, check_known
from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.memory import check_pool
from vdnnsim.network import NETWORKS, Network, load_network
from vdnnsim.program import WeightGradients
from vdnnsim.study import Study
from vdnnsim.trace import (
    DEFAULT_MATH,
    MATH_MODES,
    Trace,
    TraceShelf,
    check_folders,
    check_gpu,
    check_trace,
    find_trace,
    read_trace,
)
from vdnnsim.workloads import NETWORK_POOL, STEP_POOL, workload_of


def make_study(
    network: str | Path | Network | CapturedStep,
    *,
    batch: int | None = None,
    gpu: str | Path | GpuProfile,
    capacity: int | str | None = None,
    link_bandwidth: int | str | None = None,
    math: str | None = None,
    pool: str | None = None,
    weight_gradients: str = WeightGradients.PER_LAYER,
    trace: str | Path | Trace | None = None,
    traces: str | Path | Iterable[str | Path] = (),
    **options: Unpack[MachineOptions],
) -> Study:
    """A study from names, files or objects, as in `compare`. Raises `InvalidInput` (and its kinds) for whatever cannot
    be used."""
    changes = Changes(**options)
    profile = (gpu if isinstance(gpu, GpuProfile) else load_profile(gpu)).on_numa(changes.numa)
    if capacity is not None:
        profile = profile.with_capacity(capacity)
    if link_bandwidth is not None:
        profile = profile.with_link_bandwidth(link_bandwidth)
    check_known("weight gradients", weight_gradients, [choice.value for choice in WeightGradients])
    if not isinstance(network, Network) and is_captured(network):
        captures = captures_of(network)
        check_told(captures.where, math, weight_gradients, trace, traces)
        return study_of_step(captures.at(batch).step, profile, pool, captures.where).changed(changes)
    assert not isinstance(network, CapturedStep)
    named = "" if isinstance(network, Network) else str(network)
    if not isinstance(network, Network):
        _check_named(named)
        if batch is None:
            name = load_network(network, 1).name
            raise InvalidInput(f"batch: found none, expected the number of images of an iteration of {name}: --batch")
        network = load_network(network, batch)
    elif batch not in (None, network.batch):
        raise InvalidInput(f"batch: found {batch}, expected the network's own {network.batch}")
    math, pool = math or DEFAULT_MATH, pool or NETWORK_POOL
    check_known("math", math, MATH_MODES)
    check_pool(pool)
    folders = [Path(traces)] if isinstance(traces, str | Path) else [Path(folder) for folder in traces]
    check_folders(folders)
    if trace is None and named:
        trace = TraceShelf(folders).trace(network, named, profile.name, math).trace
    elif trace is None:
        trace = find_trace(network, profile.name, math, (*folders, data_directory("traces")))
    elif folders:
        raise InvalidInput("trace and traces: found both, expected one table or folders to look in")
    elif isinstance(trace, Trace):
        check_trace(trace, network)
    else:
        trace = read_trace(Path(trace), network)
    check_gpu(trace, profile.name, math)
    study = Study(workload_of(network), trace, profile, pool, WeightGradients(weight_gradients))
    return study.changed(changes)


def _check_named(text: str) -> None:
    """Raise `UnknownName`, with all that there is, for what is neither a network's name nor a file's."""
    if text not in NETWORKS and not text.endswith(".toml") and "/" not in text:
        raise UnknownName("network, captured step or folder", text, (*NETWORKS, *shipped_steps()))


def is_captured(named: str | Path | CapturedStep) -> bool:
    """Whether a captured step is meant, itself, by its folder or by the name of one that came along."""
    return isinstance(named, CapturedStep) or folder_of(named) is not None


def check_told(where: str, math: str | None, weight_gradients: str, trace: object, traces: object) -> None:
    """Raise `InvalidInput` for what a captured step says itself, and nobody else may."""
    weights = "" if weight_gradients == WeightGradients.PER_LAYER else weight_gradients
    for what, value in (("math", math), ("weight gradients", weights), ("trace", trace), ("traces", traces)):
        if value:
            found = ", ".join(map(str, value)) if isinstance(value, tuple | list) else value
            raise InvalidInput(f"{what}: found {found}, expected none: {where} is a captured step")


def study_of_step(step: CapturedStep, gpu: GpuProfile, pool: str | None = None, where: str = "") -> Study:
    """The study of a captured step, in PyTorch's allocator where no other pool is named. Raises `InvalidInput` (and its
    kinds) for whatever cannot be used, and says `where`."""
    where = where or step.header.name
    check_pool(pool or STEP_POOL)
    if step.header.gpu not in (gpu.name, gpu.title):
        other = shipped_as(gpu.name, step.header.name)
        advice = f"'{other}' is of that one" if other else "'vdnnsim calibrate link' makes one"
        raise InvalidInput(
            f"{where}: captured on '{step.header.gpu}', found the profile of '{gpu.name}', expected that of "
            f"the same GPU: kernels, host and allocator are its own; {advice}"
        )
    workload, trace = workload_of(step), trace_of_step(step)
    return Study(workload, trace, workload.hosted(gpu), pool or STEP_POOL)
