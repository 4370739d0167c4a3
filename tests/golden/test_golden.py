"""Results of the built-in networks stay what they were. Where a change is meant to change them:
`python tests/golden/update.py`, and the commit says why."""

from __future__ import annotations

import pytest

from support import golden_digests
from support.golden import CASES, Case, changes, recorded, results_of, title
from support.golden_digests import Row, is_deep, sampled, shipped
from vdnnsim.policies import POLICIES


@pytest.mark.parametrize("case", CASES, ids=title)
def test_results_are_what_they_were(case: Case) -> None:
    name = title(case)
    assert changes({name: recorded()[name]}, {name: results_of(case)}) == []


def test_every_case_is_recorded() -> None:
    assert list(recorded()) == [title(case) for case in CASES]


def test_changes_are_told() -> None:
    before = {"x": {"p": {"iteration_time_ns": 1000, "stall_ns": 0}}}
    after = {"x": {"p": {"iteration_time_ns": 1010, "stall_ns": 5}}, "y": {"p": {"peak_bytes": 7}}}
    assert changes(before, before) == []
    assert changes(before, after) == [
        "x, p: iteration_time_ns 1000 -> 1010 (+1.000 %)",
        "x, p: stall_ns 0 -> 5",
        "y, p: peak_bytes None -> 7",
    ]


@pytest.mark.parametrize(("row", "policies"), [pytest.param(*case, id=" ".join(case[0])) for case in sampled()])
def test_every_moment_byte_and_address_of_the_shipped_traces_is_what_it_was(row: Row, policies: list[str]) -> None:
    expected = {policy: golden_digests.recorded()[row][policy] for policy in policies}
    assert golden_digests.digests_of(row, policies) == expected


def test_every_shipped_trace_is_recorded_under_every_policy_and_every_setting() -> None:
    recorded_digests = golden_digests.recorded()
    assert all(list(by_policy) == list(POLICIES) for by_policy in recorded_digests.values())
    settings = {trace: [row.setting for row in recorded_digests if row.trace == trace] for trace in shipped()}
    assert [row.trace for row in recorded_digests] == [trace for trace in settings for _ in settings[trace]]
    for trace, recorded_settings in settings.items():
        assert set(golden_digests.OF_THE_DEEP if is_deep(trace) else golden_digests.VARIED) <= set(recorded_settings)


@pytest.mark.parametrize("trace", shipped())
def test_among_the_capacities_of_a_trace_vdnn_dyn_changes_its_mind(trace: str) -> None:
    rows = [row for row in golden_digests.recorded() if row.trace == trace and row.setting.startswith("capacity")]
    assert len({golden_digests.recorded()[row]["vdnn-dyn"] for row in rows}) > (1 if is_deep(trace) else 3)


def test_the_tests_run_every_setting() -> None:
    assert set(golden_digests.VARIED) <= {row.setting for row, _ in sampled()}
