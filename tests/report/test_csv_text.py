"""CSV: the same table as the data frame."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pandas as pd

from vdnnsim.report.csv_text import comparison_csv
from vdnnsim.results import Comparison


def test_a_row_per_policy_under_one_header(tight: Comparison) -> None:
    text = comparison_csv(tight)
    assert "\r" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["policy"] for row in rows] == [result.policy for result in tight]
    for row, result in zip(rows, tight, strict=True):
        assert row["network"] == "tiny"
        assert row["trainable"] == str(result.trainable)
        assert row["reason"] == result.reason
        assert int(row["iteration_time_ns"]) == result.iteration_time_ns
        assert float(row["performance"]) == result.performance
        assert int(row["bytes_by_class_at_peak.feature_maps"]) == result.bytes_by_class_at_peak["feature maps"]
        assert int(row["feature_extraction.peak_bytes"]) == result.feature_extraction.peak_bytes


def test_it_reads_back_as_the_data_frame(tight: Comparison) -> None:
    read = pd.read_csv(io.StringIO(comparison_csv(tight)))
    expected = pd.read_csv(io.StringIO(tight.to_frame().to_csv(index=False)))
    assert list(read.columns) == list(tight.to_frame().columns)
    pd.testing.assert_frame_equal(read, expected)


def test_a_column_that_a_policy_lacks_is_empty(roomy: Comparison) -> None:
    first, second = roomy.runs[0], roomy.runs[2]
    with_other_label = replace(first.result, kernel_time_ns_by_provenance={"measured": 5})
    comparison = replace(roomy, runs=(replace(first, result=with_other_label), second))
    rows = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert [row["kernel_time_ns_by_provenance.measured"] for row in rows] == ["5", ""]
    assert rows[0]["kernel_time_ns_by_provenance.modelled"] == ""


def test_commas_quotes_and_line_ends_are_quoted(roomy: Comparison) -> None:
    text = comparison_csv(replace(roomy, network='a,"b"\nc'))
    assert [row["network"] for row in csv.DictReader(io.StringIO(text))] == ['a,"b"\nc'] * 5


def test_a_range_has_two_columns_where_there_is_one(ranged: Comparison, roomy: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_csv(ranged))))
    assert [(int(row["iteration_time_low_ns"]), int(row["iteration_time_high_ns"])) for row in rows] == [
        result.band for result in ranged
    ]
    assert list(ranged.to_frame().columns) == list(rows[0])
    without = [name for name in rows[0] if name not in ("iteration_time_low_ns", "iteration_time_high_ns")]
    assert without == list(roomy.to_frame().columns)
