"""The evaluation gives what experiments/ says it gives, to the last digit shown."""

import csv
import io
import re
from pathlib import Path

import pytest

from tests.reproduce.conftest import Whole
from vdnnsim_paper.bars import COLUMNS, bars_csv, with_bands
from vdnnsim_paper.config import choose_figures, rules
from vdnnsim_paper.runs import plan_jobs, run_job
from vdnnsim_paper.table import HEADER

ROOT = Path(__file__).parent.parent.parent
EXPECTED = ROOT / "experiments" / "expected" / "titan-x-maxwell"
README = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")
OF_BANDS = {"low", "high", "band", "near", "samples", "trains_in"}
"""Columns that hang on the bands, which `whole` leaves out; a claim is near, too, where its band is."""
CHANGED = "changed: look at it, then run experiments/run.py"

TABLES = [path for path in sorted(EXPECTED.glob("*.csv")) if path.stem != "rules"]
"""The table of rules takes half a minute; test_causes looks at parts of it."""


def without_bands(text: str) -> list[dict[str, str]]:
    rows = csv.DictReader(io.StringIO(text))
    return [{column: value for column, value in row.items() if column not in OF_BANDS} for row in rows]


@pytest.mark.parametrize("expected", TABLES, ids=lambda path: path.stem)
def test_numbers_are_the_expected_ones(expected: Path, whole: Whole) -> None:
    found = (whole.folder / expected.name).read_text(encoding="utf-8")
    assert without_bands(found) == without_bands(expected.read_text(encoding="utf-8")), CHANGED


def test_bands_are_the_expected_ones() -> None:
    """Of one network in all its figures."""
    figures = choose_figures(())
    jobs = [job for job in plan_jobs(figures, "titan-x-maxwell", True, rules()) if job.case.network == "alexnet"]
    assert len(jobs) == 13
    measured = [entry for job in jobs for entry in run_job(job)]
    for name in dict.fromkeys(entry.figure for entry in measured):
        entries = sorted((entry for entry in measured if entry.figure == name), key=lambda entry: entry.sample)
        found = bars_csv(name, with_bands(entries)).splitlines()
        stem = name if name == "power" else f"fig{int(name):02}"
        expected = (EXPECTED / f"{stem}.csv").read_text(encoding="utf-8").splitlines()
        assert found[0] == ",".join(COLUMNS)
        assert len(found) > 1
        assert found[1:] == [line for line in expected if ",AlexNet (128)," in line], CHANGED


def test_every_figure_has_expected_numbers(whole: Whole) -> None:
    written = {path.stem for path in whole.reproduction.files if path.suffix == ".csv"}
    assert written == {path.stem for path in TABLES}


def test_readme_shows_the_claims() -> None:
    table = re.search(r"<!-- claims titan-x-maxwell -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert table
    rows = csv.DictReader(io.StringIO((EXPECTED / "claims.csv").read_text(encoding="utf-8")))
    assert table[1].splitlines()[2:] == ["| " + " | ".join(row[name] for name in HEADER) + " |" for row in rows]


def test_every_claim_is_answered_and_every_difference_explained(whole: Whole) -> None:
    assert len(whole.reproduction.claims) == 20
    for claim in whole.reproduction.claims:
        assert claim.ours.low <= claim.ours.value <= claim.ours.high
        assert claim.near == (claim.why in ("same", "within 5 %") or claim.why.startswith(("within", "no pred")))


def test_headline_is_as_near_as_it_says(whole: Whole) -> None:
    near = {claim.entry.name: claim.near for claim in whole.reproduction.claims if claim.entry.mark == "abstract"}
    missed = {name for name, met in near.items() if not met}
    assert missed == {"saved OverFeat", "loss VGG-16 (256)"}
    assert all(f"**{name}" in README for name in ("VGG-16 (256) loses", "OverFeat saves"))
