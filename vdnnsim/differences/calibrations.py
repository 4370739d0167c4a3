"""The report of a calibration as a side: of networks (`calibrate report`), or of models (`calibrate pytorch`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vdnnsim.differences.flattening import flat_values, joined
from vdnnsim.differences.records import Side, Value

CALIBRATION = "calibration"
_OF_THE_CASE = ("network", "batch", "math", "policy", "trials", "steps", "plan")
_OF_THE_STEP = ("model", "policy", "gpu")


def calibration_side(path: Path, cases: Iterable[Mapping[str, Any]]) -> Side:
    """The side of a report's file with these cases. Raises `InvalidFile`, or whatever other JSON makes of it."""
    models = [case for case in cases if "predicted" in case]
    return _of_models(path, models) if models else _of_networks(path)


def _of_models(path: Path, cases: Iterable[Mapping[str, Any]]) -> Side:
    numbers: dict[str, dict[str, Value]] = {}
    gpus = set()
    for case in cases:
        predicted, measured_ns = dict(case["predicted"]), case["step_ns"]
        title = f"{predicted['model']}, {predicted['policy']}"
        gpus.add(str(predicted["gpu"]))
        error = (int(predicted["step_ns"]) - measured_ns) / measured_ns if measured_ns else None
        told = {name: value for name, value in predicted.items() if name not in _OF_THE_STEP}
        while title in numbers:  # the same in another capacity
            title += "'"
        numbers[title] = dict(flat_values({**case, "predicted": told, "error": error}))
    return Side(CALIBRATION, str(path), {"gpu": joined(sorted(gpus))}, numbers, {}, {})


def _of_networks(path: Path) -> Side:
    from vdnnsim.calibration.records import read_records

    numbers: dict[str, dict[str, Value]] = {}
    layers: dict[str, dict[str, dict[str, Value]]] = {}
    gpus = set()
    for record in read_records(path):
        own = {name: value for name, value in vars(record).items() if name not in _OF_THE_CASE}
        own |= {"plan": dict(record.plan), "error": record.error, "verdict": record.verdict.value}
        numbers[record.title] = dict(flat_values(own))
        layers[record.title] = _steps(record.steps)
        gpus.add(record.gpu)
    inputs: dict[str, Value] = {"gpu": joined(sorted(gpus))}
    return Side(CALIBRATION, str(path), inputs, numbers, layers, {})


def _steps(steps: tuple[tuple[str, int, int], ...]) -> dict[str, dict[str, Value]]:
    """How long each step took, measured and predicted, from when steps end."""
    times: dict[str, dict[str, Value]] = {}
    begin_ns = begin_predicted_ns = 0
    for title, end_ns, end_predicted_ns in steps:
        times[title] = {"measured_ns": end_ns - begin_ns, "predicted_ns": end_predicted_ns - begin_predicted_ns}
        begin_ns, begin_predicted_ns = end_ns, end_predicted_ns
    return times
