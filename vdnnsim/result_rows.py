"""Results without nesting: names and values as files have them, and rows of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from vdnnsim.metrics import Loss, Spent
from vdnnsim.results import Comparison, FeatureExtraction, LayerResult, PolicyResult
from vdnnsim.trace import Provenance


def flat_row(comparison: Comparison, result: PolicyResult) -> dict[str, Any]:
    """One policy's numbers without nesting, as one row of a table."""
    numbers = {name: value for name, value in _flat_fields(result).items() if name not in ("layers", "trials")}
    return {**_setting(comparison), **numbers, **_of_capture(comparison, result), **asdict(comparison.origin)}


def _of_capture(comparison: Comparison, result: PolicyResult) -> dict[str, Any]:
    if comparison.captured is None:
        return {}
    header, seen = comparison.captured
    setting = {f"setting.{name}": value for name, value in header.setting.items()}
    measured = {f"seen.{name}": value for name, value in seen._asdict().items()}
    return {"units_per_s": comparison.units_per_s(result), "torch": header.torch, **setting, **measured}


def layer_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Every layer of every policy without nesting, as rows of a table."""
    setting, origin = _setting(comparison), asdict(comparison.origin)
    return [
        {**setting, "policy": result.policy, "trainable": result.trainable, **_flat_fields(layer), **origin}
        for result in comparison.results
        for layer in result.layers
    ]


def _setting(comparison: Comparison) -> dict[str, Any]:
    """On what all policies of a comparison ran."""
    return {
        "network": comparison.network,
        "batch": comparison.batch,
        "gpu": comparison.gpu,
        "math": comparison.math,
        "capacity_bytes": comparison.capacity_bytes,
        "copy_out_bytes_per_s": comparison.copy_out_bytes_per_s,
        "copy_in_bytes_per_s": comparison.copy_in_bytes_per_s,
        "pool": comparison.pool,
        "weight_gradients": comparison.weight_gradients,
    }


def _flat_fields(record: PolicyResult | LayerResult) -> dict[str, Any]:
    parts = [_flat(name, value) for name, value in fields_of(record)]
    return {name: value for part in parts for name, value in part.items()}


_NESTED = ("band", "failure", "memory", "plan_file", "pace", "power", "power_provenance")


def fields_of(record: PolicyResult | FeatureExtraction | LayerResult) -> Iterator[tuple[str, Any]]:
    """Names and values as files have them: a band, where there is one, as its two ends behind the iteration time, how a
    captured step hangs on its host and what an iteration draws behind that, what steps need of PyTorch's allocator
    behind the peak."""
    for field in fields(record):
        if field.name not in _NESTED:
            yield field.name, getattr(record, field.name)
        if field.name == "iteration_time_ns" and isinstance(record, PolicyResult) and record.band is not None:
            yield "iteration_time_low_ns", record.band.low_ns
            yield "iteration_time_high_ns", record.band.high_ns
        if field.name == "iteration_time_ns" and isinstance(record, PolicyResult) and record.pace is not None:
            yield "host_ns", record.pace.host_ns
            yield "device_ns", record.pace.device_ns
            yield "host_bound", record.pace.bound
        if field.name == "iteration_time_ns" and isinstance(record, PolicyResult):
            yield from power_fields(record)
        if field.name == "peak_bytes" and isinstance(record, PolicyResult) and record.memory is not None:
            yield "peak_allocated_bytes", record.memory.allocated_bytes
            yield "peak_reserved_bytes", record.memory.reserved_bytes
            yield "allocator_retries", record.memory.retries


def power_fields(result: PolicyResult) -> Iterator[tuple[str, Any]]:
    """What an iteration draws, as files and tables have it; nothing where the GPU's profile has no power figures."""
    if result.power is not None and result.power_provenance is not None:
        yield "energy_j", result.power.energy_j
        yield "average_power_w", result.power.average_w
        yield "peak_power_w", result.power.peak_w
        yield "power_provenance", result.power_provenance.value


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, FeatureExtraction):
        parts = [_flat(f"{name}.{part}", inner) for part, inner in fields_of(value)]
        return {key: number for part in parts for key, number in part.items()}
    if isinstance(value, Loss | Spent):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {f"{name}.{key.replace(' ', '_')}": part for key, part in value.items()}
    return {name: value.value if isinstance(value, Provenance) else value}
