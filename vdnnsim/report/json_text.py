"""JSON: everything that a comparison holds, under a version number.

Times are integer nanoseconds, sizes integer bytes, `performance` the oracle's iteration time over the policy's. A field
once published keeps its name and meaning within a schema number; new fields may appear.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import Enum
from typing import Any

from vdnnsim.differences.records import Change, Difference
from vdnnsim.metrics import Loss, Spent
from vdnnsim.policies import Plan, Trial
from vdnnsim.report.lanes import stored_lanes
from vdnnsim.result_rows import fields_of
from vdnnsim.results import Comparison, FeatureExtraction, LayerResult, PolicyResult, PolicyRun

SCHEMA = 1


def comparison_json(comparison: Comparison) -> str:
    """The comparison as JSON text; the same comparison gives the same bytes."""
    document = {
        "schema": SCHEMA,
        "network": comparison.network,
        "batch": comparison.batch,
        "gpu": comparison.gpu,
        "math": comparison.math,
        "pool": comparison.pool,
        "capacity_bytes": comparison.capacity_bytes,
        "copy_out_bytes_per_s": comparison.copy_out_bytes_per_s,
        "copy_in_bytes_per_s": comparison.copy_in_bytes_per_s,
        "weight_gradients": comparison.weight_gradients,
        "provenance": comparison.provenance.value,
        "sources": dict(comparison.sources),
        "origin": asdict(comparison.origin),
        **_captured(comparison),
        **({"left_out": list(comparison.left_out)} if comparison.left_out else {}),
        "results": [_result(run) for run in comparison.runs],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def difference_json(difference: Difference) -> str:
    """Every change of a difference as JSON text. `share` is null where it has none, or one side has no such number."""
    document = {
        "schema": SCHEMA,
        "kind": difference.before.kind,
        "before": difference.before.name,
        "after": difference.after.name,
        "inputs": [_change(change) for change in difference.inputs],
        "numbers": [_change(change) for change in difference.numbers],
        "layers": [{**layer._asdict(), "gained_ns": layer.gained_ns} for layer in difference.layers],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _change(change: Change) -> dict[str, Any]:
    share = change.share
    return {**change._asdict(), "share": None if share is None or math.isinf(share) else share}


def _captured(comparison: Comparison) -> dict[str, Any]:
    """What a captured step says of itself."""
    if comparison.captured is None:
        return {}
    header, seen = comparison.captured
    plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(header).items()}
    return {"captured": {**plain, "seen": seen._asdict()}}


def _result(run: PolicyRun) -> dict[str, Any]:
    order = [layer.layer for layer in run.result.layers]
    order += sorted(run.plan.offload.difference(order), key=lambda name: (len(name), name))
    document = _record(run.result)
    trials = [_trial(trial, order) for trial in run.result.trials]
    bound = {"optimum": run.plan.bound._asdict()} if run.plan.bound else {}
    return {**document, "plan": _decisions(run.plan, order), "timeline": stored_lanes(run), "trials": trials, **bound}


def _record(record: PolicyResult | FeatureExtraction | LayerResult) -> dict[str, Any]:
    return {name: _plain(value) for name, value in fields_of(record) if name != "trials"}


def _plain(value: Any) -> Any:
    if isinstance(value, FeatureExtraction | LayerResult):
        return _record(value)
    if isinstance(value, Loss | Spent):
        return value._asdict()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value


def _trial(trial: Trial, order: Iterable[str]) -> dict[str, Any]:
    algorithms: dict[str, dict[str, str]] = {}
    for (layer, pass_), algorithm in trial.plan.algorithms.items():
        algorithms.setdefault(layer, {})[pass_] = algorithm
    return {
        "title": trial.title,
        "fits": trial.fits,
        "reason": trial.reason,
        "iteration_time_ns": trial.iteration_time_ns,
        "peak_bytes": trial.peak_bytes,
        "plan": _decisions(trial.plan, order),
        "algorithms": algorithms,
    }


def _decisions(plan: Plan, order: Iterable[str]) -> dict[str, Any]:
    """What a plan decides beside algorithms; layers in network order, since sets have none."""
    return {
        "layout": plan.layout.value,
        "endless": plan.endless,
        "offload": [layer for layer in order if layer in plan.offload],
        "deferred": [layer for layer in order if layer in plan.deferred],
    }
