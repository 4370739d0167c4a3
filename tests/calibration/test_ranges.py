"""Ranges of predictions in a report: in the JSON, the table and the summary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vdnnsim.calibration.records import CaseRecord, read_records, records_json
from vdnnsim.calibration.report import summary, table_text

STORED = Path(__file__).parents[2] / "experiments" / "calibration" / "h200" / "results.json"
"""Of a trace without spreads."""


@pytest.fixture(scope="module")
def stored() -> tuple[CaseRecord, ...]:
    return read_records(STORED)[:4]


def ranged(record: CaseRecord, low: float, high: float) -> CaseRecord:
    """A range from and to so many parts of the measured time."""
    measured_ns = record.measured_iteration_time_ns
    return replace(
        record,
        predicted_iteration_time_low_ns=round(low * measured_ns),
        predicted_iteration_time_high_ns=round(high * measured_ns),
    )


@pytest.mark.parametrize(("low", "high", "inside"), [(0.99, 1.01, True), (1, 1, True), (1.001, 1.01, False)])
def test_a_measurement_lies_inside_or_not(
    stored: tuple[CaseRecord, ...], low: float, high: float, inside: bool
) -> None:
    assert ranged(stored[0], low, high).inside is inside


def test_the_summary_counts_those_inside_that_can_be_told(stored: tuple[CaseRecord, ...]) -> None:
    within, beyond, untold, without = stored
    records = [
        ranged(within, 0.9, 1.1),
        ranged(beyond, 1.1, 1.2),
        replace(ranged(untold, 0.9, 1.1), doubts=("link",)),
        without,
    ]
    assert "1 of 2 measurements that can be told lie inside their ranges (50 %)" in summary(records)
    assert "range" not in summary(stored)


def test_the_table_has_a_column_of_ranges_where_there_are_any(stored: tuple[CaseRecord, ...]) -> None:
    first = replace(
        stored[0], predicted_iteration_time_low_ns=129_600_000, predicted_iteration_time_high_ns=130_900_000
    )
    heading, rule, row, bare = table_text([first, stored[1]], {}).splitlines()[2:6]
    cells = [len(line.split("|")) for line in (heading, rule, row, bare)]
    assert set(cells) == {15}
    assert " predicted ms | range ms | error % " in heading
    assert " 129.600 to 130.900 | " in row
    assert "range" not in table_text(stored, {})


def test_ranges_are_stored_where_there_are_any(stored: tuple[CaseRecord, ...], tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    records = (ranged(stored[0], 0.9, 1.1), stored[1])
    path.write_text(records_json(records, {}), encoding="utf-8")
    assert read_records(path) == records
    assert path.read_text(encoding="utf-8").count("_low_ns") == 1
