"""The simulation against what was measured on real hardware: the accuracy holds on every change, without a GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest

from vdnnsim.calibration.cases import read_cases
from vdnnsim.calibration.records import LARGEST_ERROR, MEDIAN_ERROR, CaseRecord, read_records
from vdnnsim.calibration.resimulation import simulate_again
from vdnnsim.gpu import load_profile
from vdnnsim.network import Network, load_network
from vdnnsim.study import Study
from vdnnsim.trace import Provenance, Trace, find_trace

STORED = Path(__file__).parents[2] / "experiments" / "calibration" / "h200" / "results.json"


@pytest.fixture(scope="module")
def again() -> tuple[CaseRecord, ...]:
    profile = load_profile("h200")
    kept: dict[tuple[str, int, str], tuple[Network, Trace]] = {}
    records = []
    for record in read_records(STORED):
        key = (record.network, record.batch, record.math)
        if key not in kept:
            network = load_network(record.network, record.batch)
            kept[key] = (network, find_trace(network, "h200", record.math))
        study = Study(*kept[key], profile.with_capacity(record.capacity_bytes), record.pool)
        records.append(simulate_again(record, study)[0])
    return tuple(records)


def errors(records: tuple[CaseRecord, ...]) -> list[float]:
    return sorted(abs(record.error) for record in records)


def test_iteration_times_stay_near_the_measured_ones(again: tuple[CaseRecord, ...]) -> None:
    assert median(errors(again)) <= MEDIAN_ERROR
    held_out = tuple(record for record in again if record.held_out)
    assert len(held_out) > len(again) / 2
    assert median(errors(held_out)) <= MEDIAN_ERROR
    assert not [record.title for record in again if abs(record.error) > LARGEST_ERROR]


def test_every_network_mode_and_policy_is_there(again: tuple[CaseRecord, ...]) -> None:
    """No case is left out: the networks and batches of the list, in both modes, under each of its policies."""
    cases = read_cases(STORED.with_name("cases.toml"))
    expected = {
        (load_network(group.network, group.batch).name, group.batch, math, policy)
        for group in cases.case
        for math in group.math
        for policy in (*group.policies, *group.limited)
    }
    assert len(expected) == 96
    assert {(one.network, one.batch, one.math, one.policy) for one in again} == expected


def test_bytes_and_addresses_equal_the_measured_ones(again: tuple[CaseRecord, ...]) -> None:
    for record in again:
        assert record.predicted_peak_bytes == record.measured_peak_bytes, record.title
        assert record.predicted_offloaded_bytes == record.measured_offloaded_bytes, record.title
        assert record.same_addresses, record.title
        assert record.same_decisions, record.title


def test_what_is_stored_is_what_the_simulation_says(again: tuple[CaseRecord, ...]) -> None:
    stored = read_records(STORED)
    assert [record.predicted_iteration_time_ns for record in again] == [
        record.predicted_iteration_time_ns for record in stored
    ]


def test_a_wrong_model_would_be_noticed(again: tuple[CaseRecord, ...]) -> None:
    """Two per cent more on each prediction breaks the limit, so that the test above can fail."""
    slower = tuple(
        replace(record, predicted_iteration_time_ns=round(1.02 * record.predicted_iteration_time_ns))
        for record in again
    )
    assert median(errors(slower)) > MEDIAN_ERROR


def test_every_shipped_trace_is_measured_throughout() -> None:
    for record in {(one.network, one.batch, one.math): one for one in read_records(STORED)}.values():
        trace = find_trace(load_network(record.network, record.batch), "h200", record.math)
        assert {row.provenance for row in trace.rows} == {Provenance.MEASURED}
        assert {"gpu", "driver", "libraries", "date", "repetitions", "spread"} <= set(trace.header.conditions)
