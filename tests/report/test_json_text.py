"""JSON: fields, values, bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import version

import pytest

from vdnnsim.report.json_text import comparison_json
from vdnnsim.results import Comparison, PolicyResult

Compare = Callable[..., Comparison]


def test_the_comparison_is_named_and_versioned(tight: Comparison) -> None:
    document = json.loads(comparison_json(tight))
    assert {key: value for key, value in document.items() if key != "results"} == {
        "schema": 1,
        "network": "tiny",
        "batch": 1,
        "gpu": "test-gpu",
        "math": "fp32",
        "pool": "best-fit",
        "capacity_bytes": 32_768,
        "copy_out_bytes_per_s": tight.copy_out_bytes_per_s,
        "copy_in_bytes_per_s": tight.copy_in_bytes_per_s,
        "weight_gradients": "per-layer",
        "provenance": "modelled",
        "sources": {"made-up": "no measurement"},
        "origin": {
            "version": version("vdnnsim"),
            "trace": "tiny batch 1 on test-gpu, fp32",
            "trace_checked": True,
            "network_sha256": tight.origin.network_sha256,
            "trace_sha256": tight.origin.trace_sha256,
            "gpu_sha256": tight.origin.gpu_sha256,
        },
    }
    assert [result["policy"] for result in document["results"]] == [result.policy for result in tight]


def test_every_number_of_a_result_is_there(tight: Comparison) -> None:
    documents = json.loads(comparison_json(tight))["results"]
    for document, result in zip(documents, tight, strict=True):
        told_elsewhere = {"band", "power", "power_provenance", "failure"}  # which stands in its reason
        of_captured_steps = {"memory", "plan_file", "pace"}
        names = {field.name for field in fields(PolicyResult)}
        assert set(document) == (names | {"plan", "timeline"}) - told_elsewhere - of_captured_steps
        for name in ("trainable", "reason", "needed_bytes", "iteration_time_ns", "performance", "stall_ns", "verdict"):
            assert document[name] == getattr(result, name)
        assert document["bytes_by_class_at_peak"] == dict(result.bytes_by_class_at_peak)
        assert sum(document["bytes_by_class_at_peak"].values()) == document["peak_bytes"]
        inner = document["feature_extraction"]
        assert inner["iteration_time_ns"] == result.feature_extraction.iteration_time_ns
        assert inner["average_bytes_per_step"] == result.feature_extraction.average_bytes_per_step


def test_a_range_stands_behind_the_iteration_time(ranged: Comparison) -> None:
    documents = json.loads(comparison_json(ranged))["results"]
    for document, result in zip(documents, ranged, strict=True):
        assert result.band is not None
        assert document["iteration_time_low_ns"] == result.band.low_ns < result.iteration_time_ns
        assert document["iteration_time_high_ns"] == result.band.high_ns > result.iteration_time_ns
        assert "band" not in document


def test_layers_and_trials(tight: Comparison) -> None:
    documents = {document["policy"]: document for document in json.loads(comparison_json(tight))["results"]}
    conv2 = documents["vdnn-all(p)"]["layers"][3]
    assert (conv2["layer"], conv2["kind"], conv2["in_classifier"]) == ("conv2", "CONV", False)
    assert conv2["algorithms"] == {"forward": "FFT", "backward_data": "FFT", "backward_filter": "FFT"}
    assert (conv2["kernel_ns"], conv2["offloaded_bytes"]) == (3000, 1024)
    assert documents["vdnn-all(p)"]["trials"] == []
    assert documents["vdnn-all(p)"]["plan"] == {
        "layout": "layer-wise",
        "endless": False,
        "offload": ["conv1", "pool1", "conv2"],
        "deferred": [],
    }
    trials = documents["vdnn-dyn"]["trials"]
    assert [(trial["title"], trial["fits"]) for trial in trials] == [
        ("vdnn-all, memory-optimal", True),
        ("no offload, fastest", False),
        ("vdnn-conv, fastest", False),
        ("vdnn-all, fastest", False),
        ("vdnn-conv, greedy", True),
    ]
    assert trials[0]["algorithms"]["conv1"] == {"forward": "IMPLICIT_GEMM", "backward_filter": "IMPLICIT_GEMM"}
    assert trials[1]["reason"].startswith("out of memory in ")
    assert trials[1]["plan"]["offload"] == []


def test_equal_comparisons_give_equal_bytes(run_tiny: Compare, tight: Comparison) -> None:
    text = comparison_json(run_tiny(32_768))
    assert text == comparison_json(tight)
    assert text.endswith("}\n")


def test_what_is_no_number_is_refused(roomy: Comparison) -> None:
    run = roomy.runs[0]
    broken = replace(roomy, runs=(replace(run, result=replace(run.result, performance=float("nan"))),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        comparison_json(broken)


def test_names_survive(roomy: Comparison) -> None:
    name = 'ネット "[red]" \\ \x1b $x$'
    assert json.loads(comparison_json(replace(roomy, network=name)))["network"] == name
