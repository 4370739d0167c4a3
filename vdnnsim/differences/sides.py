"""One of the two things that are set beside each other, read from wherever it is; its kind is seen from its content."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vdnnsim.differences.calibrations import calibration_side
from vdnnsim.differences.flattening import flat_values, joined
from vdnnsim.differences.records import Lanes, Side, Value, quantity_of
from vdnnsim.errors import Fault, InvalidFile, InvalidInput
from vdnnsim.files import read_text
from vdnnsim.results import Comparison

RESULT, PROFILE, CONFIGURATION = "result", "GPU's profile", "configuration"
_RECORDS = "results.json"
_EXPECTED = "JSON of 'compare' or 'run', a calibration's report, a GPU's profile, or another TOML file"
_LAYER_NUMBERS = ("forward_ns", "backward_ns", "stall_ns", "offloaded_bytes", "prefetched_bytes")
_LINK_SIZES = {"64 KiB": 2**16, "256 KiB": 2**18, "1 MiB": 2**20, "16 MiB": 2**24, "256 MiB": 2**28, "1 GiB": 2**30}
_TOLD_ELSEWHERE = ("policy", "layers", "trials", "timeline")


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
            return calibration_side(path, document["cases"])
        return _result(str(path), document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        found = "JSON that is cut short or broken" if isinstance(error, json.JSONDecodeError) else "other JSON"
        raise InvalidFile([Fault(str(path), getattr(error, "lineno", None), "file", found, _EXPECTED)]) from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _result(name: str, document: Mapping[str, Any]) -> Side:
    results = {_title(result): result for result in document["results"]}
    return Side(
        RESULT,
        name,
        dict(flat_values({key: value for key, value in document.items() if key not in ("results", "schema")})),
        {policy: dict(flat_values(_outcome(result))) for policy, result in results.items()},
        {policy: _layers(result) for policy, result in results.items()},
        {policy: _lanes(result["timeline"]) for policy, result in results.items() if "timeline" in result},
    )


def _title(result: Mapping[str, Any]) -> str:
    """The policy; where several GPUs of one host run it, with the GPU's number."""
    return f"{result['policy']}, GPU {result['number']}" if "number" in result else str(result["policy"])


def _outcome(result: Mapping[str, Any]) -> dict[str, Any]:
    whole = {name: int(result[name]) for name in ("iteration_time_ns", "peak_bytes")}
    return {name: value for name, value in result.items() if name not in _TOLD_ELSEWHERE} | whole


def _layers(result: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
    return {
        str(layer["layer"]): {
            **{name: int(layer[name]) for name in _LAYER_NUMBERS},
            "algorithms": joined(sorted({f"{key}: {value}" for key, value in layer["algorithms"].items()})),
        }
        for layer in result.get("layers", ())
    }


def _lanes(timeline: Mapping[str, Any]) -> Lanes:
    return {
        str(engine): [
            (int(begin), int(end), str(of))
            for begin, end, of in zip(lane["begin_ns"], lane["end_ns"], lane["of"], strict=True)
        ]
        for engine, lane in timeline.items()
    }


def _of_toml(path: Path, text: str) -> Side:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError):
        raise InvalidFile([Fault(str(path), None, "file", "neither JSON nor TOML", _EXPECTED)]) from None
    if not document:
        raise InvalidFile([Fault(str(path), None, "file", "nothing", _EXPECTED)])
    if "link" in document and "memory" in document:
        return _profile(path, document)
    try:
        return _plain(CONFIGURATION, str(path), document)
    except ValueError:
        raise InvalidFile([Fault(str(path), None, "file", "tables within tables without end", _EXPECTED)]) from None


def _plain(kind: str, name: str, document: Mapping[str, Any]) -> Side:
    """Texts are inputs, numbers with or without units are compared."""
    values = dict(flat_values(document))
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
