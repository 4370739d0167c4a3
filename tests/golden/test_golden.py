"""Results of the built-in networks stay what they were. Where a change is meant to change them:
`python tests/golden/update.py`, and the commit says why."""

from __future__ import annotations

import pytest

from support.golden import CASES, changes, recorded, results_of, title


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
