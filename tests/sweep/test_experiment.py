"""The example sweep answers its question, and the table in the documentation is its answer today."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.examples import thorough
from vdnnsim.figures.sweep.threshold import least_enough
from vdnnsim.figures.sweep.view import View
from vdnnsim.sweep.plan import plan_sweep
from vdnnsim.sweep.run import run_sweep

ROOT = Path(__file__).parents[2]
POLICIES = ("vdnn-all(p)", "vdnn-conv(p)", "vdnn-dyn")


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> View:
    out = tmp_path_factory.mktemp("link") / "out"
    run_sweep(plan_sweep(ROOT / "experiments" / "link-speed.toml"), out, jobs=1)
    return View(out, None)


def words(enough: float | None, slowest: float) -> str:
    if enough is None:
        return "does not fit"
    return "never" if enough == float("inf") else "any" if enough == slowest else f"{enough / 1e9:.0f}"


@thorough
def test_the_table_of_the_documentation_is_todays(view: View) -> None:
    slowest = float(view.frame["link_bandwidth"].min())
    lines = []
    for text, rows in view.panels(["link_bandwidth"]):
        found = [
            words(least_enough(rows[rows["policy"] == name], "link_bandwidth", 0.05), slowest) for name in POLICIES
        ]
        lines.append(f"| {text} | {' | '.join(found)} |")
    document = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
    assert "\n".join(lines) in document, "\n".join(lines)


@thorough
def test_memory_optimal_algorithms_are_never_fast_enough(view: View) -> None:
    for _, rows in view.panels(["link_bandwidth"]):
        for name in ("vdnn-all(m)", "vdnn-conv(m)"):
            assert least_enough(rows[rows["policy"] == name], "link_bandwidth", 0.05) == float("inf")


def test_the_example_says_how_many_points_it_has() -> None:
    path = ROOT / "examples" / "sweep.toml"
    points = plan_sweep(path).size.points
    assert f"{points} points." in path.read_text(encoding="utf-8").splitlines()[0]
    assert f"{points} points after filters" in (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")
