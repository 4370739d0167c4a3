"""What a sweep's points are made from, read once before it runs: networks, traces, GPUs, and a digest of each."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vdnnsim.captured.captures import Captures, captures_of
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.making import is_captured, study_of_step
from vdnnsim.memory import POOLS, check_pool, pool_kind
from vdnnsim.network import Network, load_network, network_sha256
from vdnnsim.policies import POLICIES, make_policy
from vdnnsim.policies.registry import PLAN_SUFFIX
from vdnnsim.study import Study
from vdnnsim.sweep.axes import OWN, STUDY_AXES
from vdnnsim.sweep.spec import Spec, beside
from vdnnsim.trace import TRACE_FOLDER, TraceShelf, no_traces
from vdnnsim.workloads import workload_of

StudyCodes = tuple[int, ...]


class Source(NamedTuple):
    """One (network, batch, GPU, math), or captured step. `trace_batch` is the batch that was timed, as text, or the two
    that an interpolated trace lies between; `interpolation_error_ppm` is -1 where it is unknown and 0 where nothing was
    interpolated. `digest` covers all content."""

    study: Study
    trace_batch: str
    interpolation_error_ppm: int
    digest: str


def study_source(shelf: TraceShelf, network: Network, network_name: str, gpu: GpuProfile, math: str) -> Source:
    """Raises `MissingTrace` where there is none and none can be interpolated, `InvalidFile` for a damaged one."""
    found = shelf.trace(network, network_name, gpu.name, math)
    digest = _digest(network_sha256(network), gpu.sha256, found.trace.sha256)
    return Source(Study(workload_of(network), found.trace, gpu), found.batches, found.error_ppm, digest)


def load_sources(
    spec: Spec, studies: Iterable[StudyCodes], folders: Iterable[Path] = (), tables: Iterable[Path] = ()
) -> dict[StudyCodes, Source]:
    """The source of each study of a sweep; `folders` and `tables` of traces are looked in before the spec's.

    Raises `InvalidFile` with the spec's line for what there is not, `InvalidInput` for a table that is of no use.
    """
    for index, folder in enumerate(spec.traces):
        if found := no_traces(folder):
            raise spec.fault(("traces", index), found, TRACE_FOLDER)
    shelf = TraceShelf((*folders, *spec.traces), tables)
    profiles: dict[str, GpuProfile] = {}
    captured: dict[str, Captures] = {}
    sources: dict[StudyCodes, Source] = {}
    for codes in studies:
        values = {name: spec.axes[name][code] for name, code in zip(STUDY_AXES, codes, strict=True)}
        network_name, gpu_name = (beside(spec.file, str(values[name])) for name in ("network", "gpu"))
        batch = int(values["batch"])
        place = "gpu"
        try:
            if gpu_name not in profiles:
                profiles[gpu_name] = load_profile(gpu_name)
            place = "network"
            if is_captured(network_name):
                if network_name not in captured:
                    captured[network_name] = captures_of(network_name)
                place = "batch" if "batch" in spec.named else "network"
                sources[codes] = _captured_source(captured[network_name], batch, profiles[gpu_name])
                _check_told(spec)
                continue
            network = load_network(network_name, batch)
            place = "batch"
            sources[codes] = study_source(shelf, network, network_name, profiles[gpu_name], str(values["math"]))
        except InvalidInput as error:
            raise spec.fault(("axes", place), "", str(error)) from None
    shelf.check_tables()
    return sources


def _captured_source(captures: Captures, batch: int, gpu: GpuProfile) -> Source:
    found = captures.at(None if batch == OWN else batch)
    study = study_of_step(found.step, gpu, where=captures.where)
    kernels_ppm = found.errors.kernels_ppm if found.errors else 0
    digest = _digest(study.workload.sha256, study.gpu.sha256, study.trace.sha256)
    return Source(study, found.batches, -1 if kernels_ppm is None else kernels_ppm, digest)


def _check_told(spec: Spec) -> None:
    """Raise for axes that captured steps have no choice in."""
    for axis in ("math", "weight_gradients"):
        if axis in spec.named:
            raise spec.fault(("axes", axis), "this axis", "none of captured steps, which say it themselves")


def policy_digests(names: Iterable[str]) -> dict[str, str]:
    """A digest of the code of each policy: its own file for a user's and for a plan, nothing more than its name for a
    built-in one, which changes with the package's version only."""
    digests = {}
    for name in names:
        policy = make_policy(name)
        file = name if name.endswith(PLAN_SUFFIX) else inspect.getsourcefile(type(policy))
        own = "" if name in POLICIES or file is None else Path(file).read_text(encoding="utf-8")
        digests[name] = _digest(name, own)
    return digests


def pool_digests(names: Iterable[str]) -> dict[str, str]:
    """A digest of the code of each pool of a user's own. Raises `InvalidInput` for one that cannot be used."""
    digests = {}
    for name in names:
        check_pool(name)
        if name not in POOLS:
            file = inspect.getsourcefile(pool_kind(name))
            digests[name] = _digest(name, "" if file is None else Path(file).read_text(encoding="utf-8"))
    return digests


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
