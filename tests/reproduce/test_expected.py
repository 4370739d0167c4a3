"""The evaluation gives what experiments/ says it gives, to the last digit shown."""

import re
from pathlib import Path

import pytest

from tests.reproduce.conftest import Whole
from vdnnsim.reproduce import reproduce
from vdnnsim.reproduce.then_and_now import NOW, compare_gpus, link_rates, then_and_now_markdown
from vdnnsim.trace import Provenance

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


def test_measured_gpu_gives_its_expected_numbers(tmp_path: Path) -> None:
    """Measured traces have no bands, so that this takes little time."""
    folder = EXPECTED.parent / NOW
    found = reproduce(gpu=NOW, out=tmp_path)
    tables = {path.name for path in found.files if path.suffix == ".csv"}
    assert tables == {path.name for path in folder.glob("*.csv")}
    for name in tables:
        assert (tmp_path / name).read_text(encoding="utf-8") == (folder / name).read_text(encoding="utf-8")
    assert f"<!-- claims h200 -->\n{(tmp_path / 'claims.md').read_text(encoding='utf-8')}<!-- end -->" in README
    assert all(bar.low == bar.high and bar.provenance is Provenance.MEASURED for bar in found.bars["14"])


def test_then_and_now() -> None:
    pairs = compare_gpus()
    assert f"<!-- then and now -->\n{then_and_now_markdown(pairs)}<!-- end -->" in README
    text = " ".join(README.split())
    assert (
        "the link {:.1f} times** ({:.1f} to {:.1f} GB/s".format(link_rates()[1] / link_rates()[0], *link_rates())
        in text
    )
    speed_ups = [pair.speed_up for pair in pairs]
    assert f"became {min(speed_ups):.0f} to {max(speed_ups):.0f} times as fast" in text
    for index, (policy, digits) in enumerate((("vdnn-conv", 1), ("vdnn-all", 0))):
        now, then = ([getattr(pair, side).losses[index] for pair in pairs] for side in ("now", "then"))
        assert (
            f"{min(now):.0f} to {max(now):.0f} % where it lost {min(then):.{digits}f} to {max(then):.0f} %" in text
        ), policy


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
