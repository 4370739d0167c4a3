"""One of the two things that are set beside each other, read from wherever it is; its kind is seen from its content."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vdnnsim.differences.records import Lanes, Side, Value, quantity_of
from vdnnsim.errors import Fault, InvalidFile, InvalidInput
from vdnnsim.files import read_text
from vdnnsim.results import Comparison

RESULT, CALIBRATION, PROFILE, CONFIGURATION = "result", "calibration", "GPU's profile", "configuration"
_RECORDS = "results.json"
_EXPECTED = "JSON of 'compare' or 'run', a calibration's report, a GPU's profile, or another TOML file"
_LAYER_NUMBERS = ("forward_ns", "backward_ns", "stall_ns", "offloaded_bytes", "prefetched_bytes")
_LINK_SIZES = {"64 KiB": 2**16, "256 KiB": 2**18, "1 MiB": 2**20, "16 MiB": 2**24, "256 MiB": 2**28, "1 GiB": 2**30}
_TOLD_ELSEWHERE = ("policy", "layers", "trials", "timeline")
_OF_THE_CASE = ("network", "batch", "math", "policy", "trials", "steps", "plan")
_DEEPEST = 12


def read_side(of: str | Path | Comparison) -> Side:
    """A side from a comparison, a file, or the folder of a report. Raises `InvalidFile` for what is none, and
    `InvalidInput` for a folder without a report."""
    if isinstance(of, Comparison):
        from vdnnsim.report.json_text import comparison_json  # upwards: `report` knows how a result is stored

        return _result("the comparison", json.loads(comparison_json(of)))
    path = Path(of)
    if path.is_dir():
        if not (path / _RECORDS).is_file():
            raise InvalidInput(f"{path}: found a folder without {_RECORDS}, expected a calibration's report")
        path /= _RECORDS
    text = read_text(path)
    return _of_json(path, text) if text.lstrip().startswith("{") else _of_toml(path, text)


def _of_json(path: Path, text: str) -> Side:
    try:
        document = json.loads(text, parse_constant=_refuse)
        if "cases" in document:
            return _calibration(path)
        return _result(str(path), document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        found = "JSON that is cut short or broken" if isinstance(error, json.JSONDecodeError) else "other JSON"
        raise InvalidFile([Fault(str(path), getattr(error, "lineno", None), "file", found, _EXPECTED)]) from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _result(name: str, document: Mapping[str, Any]) -> Side:
    results: dict[str, Any] = {str(result["policy"]): result for result in document["results"]}
    return Side(
        RESULT,
        name,
        dict(_flat({key: value for key, value in document.items() if key not in ("results", "schema")})),
        {policy: dict(_flat(_outcome(result))) for policy, result in results.items()},
        {policy: _layers(result) for policy, result in results.items()},
        {policy: _lanes(result["timeline"]) for policy, result in results.items() if "timeline" in result},
    )


def _outcome(result: Mapping[str, Any]) -> dict[str, Any]:
    whole = {name: int(result[name]) for name in ("iteration_time_ns", "peak_bytes")}
    return {name: value for name, value in result.items() if name not in _TOLD_ELSEWHERE} | whole


def _layers(result: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
    return {
        str(layer["layer"]): {
            **{name: int(layer[name]) for name in _LAYER_NUMBERS},
            "algorithms": _joined(sorted({f"{key}: {value}" for key, value in layer["algorithms"].items()})),
        }
        for layer in result["layers"]
    }


def _lanes(timeline: Mapping[str, Any]) -> Lanes:
    return {
        str(engine): [
            (int(begin), int(end), str(of))
            for begin, end, of in zip(lane["begin_ns"], lane["end_ns"], lane["of"], strict=True)
        ]
        for engine, lane in timeline.items()
    }


def _calibration(path: Path) -> Side:
    from vdnnsim.calibration.records import read_records

    numbers: dict[str, dict[str, Value]] = {}
    layers: dict[str, dict[str, dict[str, Value]]] = {}
    gpus = set()
    for record in read_records(path):
        own = {name: value for name, value in vars(record).items() if name not in _OF_THE_CASE}
        own |= {"plan": dict(record.plan), "error": record.error, "verdict": record.verdict.value}
        numbers[record.title] = dict(_flat(own))
        layers[record.title] = _steps(record.steps)
        gpus.add(record.gpu)
    inputs: dict[str, Value] = {"gpu": _joined(sorted(gpus))}
    return Side(CALIBRATION, str(path), inputs, numbers, layers, {})


def _steps(steps: tuple[tuple[str, int, int], ...]) -> dict[str, dict[str, Value]]:
    """How long each step took, measured and predicted, from when steps end."""
    times: dict[str, dict[str, Value]] = {}
    begin_ns = begin_predicted_ns = 0
    for title, end_ns, end_predicted_ns in steps:
        times[title] = {"measured_ns": end_ns - begin_ns, "predicted_ns": end_predicted_ns - begin_predicted_ns}
        begin_ns, begin_predicted_ns = end_ns, end_predicted_ns
    return times


def _of_toml(path: Path, text: str) -> Side:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        raise InvalidFile([Fault(str(path), None, "file", "neither JSON nor TOML", _EXPECTED)]) from None
    if not document:
        raise InvalidFile([Fault(str(path), None, "file", "nothing", _EXPECTED)])
    if "link" in document and "memory" in document:
        return _profile(path, document)
    return _plain(CONFIGURATION, str(path), document)


def _plain(kind: str, name: str, document: Mapping[str, Any]) -> Side:
    """Texts are inputs, numbers with or without units are compared."""
    values = dict(_flat(document))
    numbers = {key: value for key, value in values.items() if quantity_of(value) is not None}
    return Side(kind, name, {key: value for key, value in values.items() if key not in numbers}, {"": numbers}, {}, {})


def _profile(path: Path, document: dict[str, Any]) -> Side:
    """Curves were not measured at the same sizes everywhere, and so are read at some."""
    from vdnnsim.gpu import read_profile

    link = read_profile(path).link
    for way, curve in (("copy_out", link.copy_out), ("copy_in", link.copy_in)):
        del document["link"][way]["points"]
        document["link"][way] |= {
            "bandwidth": f"{curve.bandwidth_bytes_per_s} B/s",
            **{words: f"{curve.duration_ns(size_bytes)} ns" for words, size_bytes in _LINK_SIZES.items()},
        }
    return _plain(PROFILE, str(path), document)


def _flat(document: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, Value]]:
    """Every value by its dotted name; items of a list by their own names, or numbered."""
    for key, value in document.items():
        name = f"{before}{key}"
        if depth > _DEEPEST:
            raise ValueError(f"{name}: too deep")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.", depth + 1)
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value):
            yield from _flat(_by_name(value), f"{name}.", depth + 1)
        elif isinstance(value, list | tuple):
            yield name, _joined(value)
        else:
            yield name, value if isinstance(value, bool | int | float | str | None) else str(value)


def _by_name(items: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for number, item in enumerate(items, start=1):
        own = item.get("name") if isinstance(item, Mapping) else None
        if isinstance(own, str) and own not in named:
            named[own] = {key: value for key, value in item.items() if key != "name"}
        else:
            named[str(number)] = item
    return named


def _joined(items: Any) -> str:
    return ", ".join(str(item) for item in items)
