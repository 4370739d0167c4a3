"""Two runs that differ in anything differ in their files, whatever their names; and a trace that does not say of which
layers it is shows in every form of a result."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from support.cases import conv, fc, gpu_of, layer, network_of, trace_of
from vdnnsim.comparing import compare
from vdnnsim.network import Kind
from vdnnsim.report.csv_text import comparison_csv, layers_csv
from vdnnsim.report.json_text import comparison_json
from vdnnsim.report.words import provenance
from vdnnsim.results import Comparison
from vdnnsim.trace import Trace

NETWORK = network_of(conv("a"), layer(Kind.DROPOUT, "drop"), conv("b"), fc("fc"), layer(Kind.SOFTMAX, "loss"))
TRACE = trace_of(NETWORK)
GPU = gpu_of()
ARGUMENTS: dict[str, object] = {"network": NETWORK, "gpu": GPU, "trace": TRACE, "policies": ("vdnn-all(p)", "oracle")}
FORMS = (comparison_csv, layers_csv, comparison_json)
# What need not show in any number.
UNSEEN: dict[str, Mapping[str, object]] = {
    "weight gradients": {"weight_gradients": "none"},
    "a row": {"trace": Trace(TRACE.header, [*TRACE.rows, TRACE.rows[0]._replace(algorithm="FFT", duration_ns=99)])},
    "the trace's conditions": {"trace": Trace(replace(TRACE.header, conditions={"date": "today"}), TRACE.rows)},
    "the GPU": {"gpu": replace(GPU, sources={"host": "another"})},
    "a rate of DROPOUT": {
        "network": replace(
            NETWORK, layers=tuple(replace(one, rate=0.1) if one.name == "drop" else one for one in NETWORK.layers)
        )
    },
}


def run(**changes: object) -> Comparison:
    return compare(**{**ARGUMENTS, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", UNSEEN)
def test_runs_that_differ_differ_in_their_files(what: str, form: Callable[[Comparison], str]) -> None:
    assert form(run()) == form(run())
    assert form(run(**UNSEEN[what])) != form(run())


def test_an_unchecked_trace_shows_in_every_form() -> None:
    unchecked = run(trace=Trace(replace(TRACE.header, layers=()), TRACE.rows))
    assert provenance(unchecked).endswith("; trace unchecked: it does not say of which layers it is")
    assert "unchecked" not in provenance(run())
    for comparison, checked in ((unchecked, False), (run(), True)):
        assert json.loads(comparison_json(comparison))["origin"]["trace_checked"] is checked
        assert comparison.to_frame()["trace_checked"].tolist() == [checked] * 2
        assert comparison.layers_to_frame()["trace_checked"].tolist() == [checked] * 10


def test_layers_as_a_table() -> None:
    comparison = run()
    rows = list(csv.DictReader(io.StringIO(layers_csv(comparison))))
    assert [(row["policy"], row["layer"]) for row in rows] == [
        (policy, name) for policy in ("vdnn-all(p)", "oracle") for name in ("a", "drop", "b", "fc", "loss")
    ]
    expected = comparison["vdnn-all(p)"].layers[2]
    assert int(rows[2]["forward_ns"]) == expected.forward_ns
    assert int(rows[2]["offloaded_bytes"]) == expected.offloaded_bytes
    assert rows[2]["algorithms.backward_filter"] == "default"
    assert rows[3]["algorithms.backward_filter"] == ""
    assert list(rows[0]) == list(comparison.layers_to_frame().columns)
