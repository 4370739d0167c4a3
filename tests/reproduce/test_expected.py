"""The evaluation gives what experiments/ says it gives, to the last digit shown."""

import re
from pathlib import Path

import pytest

from tests.reproduce.conftest import Whole

ROOT = Path(__file__).parent.parent.parent
EXPECTED = ROOT / "experiments" / "expected" / "titan-x-maxwell"
README = (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")


TABLES = [path for path in sorted(EXPECTED.glob("*.csv")) if path.stem != "rules"]
"""The table of rules takes half a minute; test_causes looks at parts of it."""


@pytest.mark.parametrize("expected", TABLES, ids=lambda path: path.stem)
def test_numbers_are_the_expected_ones(expected: Path, whole: Whole) -> None:
    found = (whole.folder / expected.name).read_text(encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8"), "changed: look at it, then run experiments/run.py"


def test_every_figure_has_expected_numbers(whole: Whole) -> None:
    written = {path.stem for path in whole.reproduction.files if path.suffix == ".csv"}
    assert written == {path.stem for path in TABLES}


def test_readme_shows_the_claims(whole: Whole) -> None:
    table = re.search(r"<!-- claims titan-x-maxwell -->\n(.*?)<!-- end -->", README, re.DOTALL)
    assert table
    assert table[1] == (whole.folder / "claims.md").read_text(encoding="utf-8")


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
