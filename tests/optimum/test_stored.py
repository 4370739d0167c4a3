"""The stored comparison with the optimum: nothing is below the bound, and docs/optimum.md shows what is stored."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "optimal"


@pytest.fixture(scope="module")
def frontier() -> dict[str, object]:
    return runpy.run_path(str(FOLDER / "frontier.py"))


@pytest.mark.parametrize("name", ["gaps.csv", "frontier.csv"])
def test_no_policy_is_below_the_bound(frontier: dict[str, object], name: str) -> None:
    rows = frontier["read"](FOLDER / name)  # type: ignore[operator]
    assert {row.policy for row in rows} >= {"optimal", "vdnn-dyn", "capuchin", "oracle"}
    cases = {(row.network, row.batch, row.gpu, row.percent) for row in rows if row.bound_ns}
    assert len(cases) == sum(row.policy == "optimal" for row in rows)
    for row in rows:
        endless = row.policy == "oracle"
        assert endless or row.time_ns == 0 or row.time_ns >= row.bound_ns > 0, row


def test_a_frontier_of_twelve_capacities_took_less_than_three_minutes(frontier: dict[str, object]) -> None:
    """Of processor time, as it was measured."""
    best = [row for row in frontier["read"](FOLDER / "frontier.csv") if row.policy == "optimal"]  # type: ignore[operator]
    assert len(best) == 12
    assert sum(row.seconds for row in best) < 180


def test_the_document_shows_what_is_stored(frontier: dict[str, object]) -> None:
    table = frontier["table"](frontier["read"](FOLDER / "gaps.csv"))  # type: ignore[operator]
    assert table in (ROOT / "docs" / "optimum.md").read_text(encoding="utf-8")


def test_nothing_is_below_the_bound_of_a_captured_step_and_plans_take_what_the_model_says() -> None:
    steps = runpy.run_path(str(FOLDER / "steps.py"))
    rows = [row for gpu in steps["GPUS"] for row in steps["read"](gpu)]
    assert len(rows) == len(steps["GPUS"]) * len(steps["CASES"])
    for row in rows:
        assert min(ns for ns in (row.plan_ns, row.other_ns, row.bound_ns) if ns) == row.bound_ns, row
        assert not row.model_ns or abs(row.plan_ns / row.model_ns - 1) < 0.011, row
        assert row.percent < 80 or row.plan_ns < 1.04 * row.bound_ns, row
    assert steps["table"]() in (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
