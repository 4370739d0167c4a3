"""A sweep before it runs: read, counted, its sources found, cut into parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from vdnnsim.errors import InvalidInput
from vdnnsim.sweep.engines import Engine, uncovered
from vdnnsim.sweep.grid import Grid, Size
from vdnnsim.sweep.hosts import load_topologies
from vdnnsim.sweep.points import Assignment
from vdnnsim.sweep.sources import load_sources, policy_digests, pool_digests
from vdnnsim.sweep.spec import Spec, read_spec
from vdnnsim.sweep.store import Manifest

_VECTORISED_CHUNK = 1 << 16
_REFERENCE_CHUNK = 1 << 10
_LEAST_CHUNK = 64
_CHUNKS_FOR_EACH_JOB = 4
_JOBS_PLANNED_FOR = 8


@dataclass(frozen=True)
class Sweep:
    """All that is needed to run. `chunks` are the raw points [first, last) of each part, `manifest` what its folder
    says, `uncovered` why points of a GPU run on the reference engine though it was not asked for."""

    spec: Spec
    size: Size
    assignment: Assignment
    chunks: tuple[tuple[int, int], ...]
    manifest: Manifest
    uncovered: Mapping[str, str]


def plan_sweep(
    path: Path | str, engine: Engine = Engine.AUTO, folders: Iterable[Path] = (), tables: Iterable[Path] = ()
) -> Sweep:
    """Read the spec in a file and all that it names; `folders` and `tables` of traces are looked in before the spec's.

    Raises `InvalidFile`, with the place in the spec for what there is not, `InvalidInput` for a table of no use.
    """
    spec = read_spec(Path(path))
    grid = Grid(spec)
    size = grid.size()
    if not size.points:
        raise spec.fault(("filters",), f"no point of {size.raw_points} that passes", "filters that leave one or more")
    policies = policy_digests_of(spec)
    pools = _digests_of(spec, "pool", pool_digests)
    sources = load_sources(spec, size.studies, folders, tables)
    topologies = load_topologies(spec)
    assignment = Assignment(spec, sources, policies, engine, version("vdnnsim"), topologies, pools)
    studies = [source.study for source in sources.values()]
    told = {study.gpu.name: reason for study in studies if (reason := uncovered(study.gpu, study.trace))}
    reasons = {} if engine is Engine.REFERENCE else told
    chunk_points = _chunk_points(size, slow=engine is Engine.REFERENCE or bool(reasons or topologies))
    chunks = tuple(grid.chunks(chunk_points))
    filtered = bool(spec.filters)
    parts = tuple(len(grid.codes(*chunk)["point"]) if filtered else chunk[1] - chunk[0] for chunk in chunks)
    manifest = Manifest(
        spec.title,
        _digest(assignment),
        assignment.version,
        engine.value,
        size.points,
        size.raw_points,
        chunk_points,
        parts,
        _inputs(assignment),
    )
    return Sweep(spec, size, assignment, chunks, manifest, reasons)


def policy_digests_of(spec: Spec) -> dict[str, str]:
    """Raises `InvalidFile` with the spec's line for a policy that cannot be used."""
    return _digests_of(spec, "policy", policy_digests)


def _digests_of(spec: Spec, axis: str, digests: Callable[[list[str]], dict[str, str]]) -> dict[str, str]:
    try:
        return digests([str(name) for name in spec.axes[axis]])
    except InvalidInput as error:
        raise spec.fault(("axes", axis), "", str(error)) from None


def _chunk_points(size: Size, slow: bool) -> int:
    """Parts small enough that a crash loses seconds and every core has some, large enough that a file is worth it. It
    must not depend on the machine: a sweep may be resumed on another."""
    most = _REFERENCE_CHUNK if slow else _VECTORISED_CHUNK
    share = size.raw_points // (_CHUNKS_FOR_EACH_JOB * _JOBS_PLANNED_FOR) + 1
    return max(_LEAST_CHUNK, min(most, share))


def _digest(assignment: Assignment) -> str:
    """Of what the sweep means: the values of axes and not how they were written, contents and not names of files."""
    spec = assignment.spec
    meaning = {
        **_spoken(spec),
        "sources": [[list(codes), source.digest] for codes, source in sorted(assignment.sources.items())],
        "topologies": {name: one.sha256 for name, one in assignment.topologies.items()},
        "policies": dict(assignment.policies),
        **({"pools": dict(assignment.pools)} if assignment.pools else {}),
    }
    return _hash(meaning)


def _spoken(spec: Spec) -> dict[str, object]:
    return {
        "axes": {name: list(values) for name, values in spec.axes.items()},
        "zip": sorted(sorted(group) for group in spec.zipped),
        "filters": list(spec.filters),
    }


def _inputs(assignment: Assignment) -> dict[str, str]:
    """A digest of each input by its name, to tell which one changed. The names are those of what was read, not of
    files."""
    spoken = _spoken(assignment.spec)
    axes = assignment.spec.axes
    inputs = {f"axes.{name}": _hash(list(values)) for name, values in axes.items()}
    inputs.update({name: _hash(spoken[name]) for name in ("zip", "filters")})
    for source in assignment.sources.values():
        workload, trace, gpu = source.study.workload, source.study.trace, source.study.gpu
        named = f"{workload.name} ({workload.batch})"
        inputs[f"network {named}"] = workload.sha256
        inputs[f"gpu {gpu.name}"] = gpu.sha256
        inputs[f"trace of {named} on {gpu.name}, {trace.header.math}"] = trace.sha256
    inputs.update({f"topology {name}": one.sha256 for name, one in assignment.topologies.items()})
    inputs.update({f"policy {name}": digest for name, digest in assignment.policies.items()})
    inputs.update({f"pool {name}": digest for name, digest in assignment.pools.items()})
    return inputs


def _hash(meaning: object) -> str:
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
