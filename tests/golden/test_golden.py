"""Results of the built-in networks stay what they were. Where a change is meant to change them:
`python tests/golden/update.py`, and the commit says why."""

from __future__ import annotations

import pytest

from support import golden_digests
from support.golden import CASES, changes, recorded, results_of, title
from vdnnsim.policies import POLICIES


@pytest.mark.parametrize(("network", "batch"), CASES, ids=[title(*case) for case in CASES])
def test_results_are_what_they_were(network: str, batch: int) -> None:
    case = title(network, batch)
    assert changes({case: recorded()[case]}, {case: results_of(network, batch)}) == []


def test_every_case_is_recorded() -> None:
    assert list(recorded()) == [title(*case) for case in CASES]


def test_changes_are_told() -> None:
    before = {"x": {"p": {"iteration_time_ns": 1000, "stall_ns": 0}}}
    after = {"x": {"p": {"iteration_time_ns": 1010, "stall_ns": 5}}, "y": {"p": {"peak_bytes": 7}}}
    assert changes(before, before) == []
    assert changes(before, after) == [
        "x, p: iteration_time_ns 1000 -> 1010 (+1.000 %)",
        "x, p: stall_ns 0 -> 5",
        "y, p: peak_bytes None -> 7",
    ]


@pytest.mark.parametrize("trace", golden_digests.shipped())
def test_every_moment_byte_and_address_of_the_shipped_traces_is_what_it_was(trace: str) -> None:
    policies = golden_digests.tested_policies(trace)
    expected = {policy: golden_digests.recorded()[trace][policy] for policy in policies}
    assert golden_digests.digests_of(trace, policies) == expected


def test_every_shipped_trace_is_recorded_under_every_policy() -> None:
    recorded_digests = golden_digests.recorded()
    assert list(recorded_digests) == golden_digests.shipped()
    assert all(list(digests) == list(POLICIES) for digests in recorded_digests.values())
