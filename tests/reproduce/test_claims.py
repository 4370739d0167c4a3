"""Claims: how far ours is, what counts as near, how rows read."""

import io

import pytest
from rich.console import Console

from vdnnsim.trace import Provenance
from vdnnsim_paper.bars import BandedBar, Bar
from vdnnsim_paper.claims import Claim, Ours, compare_claims, is_near, stated_values
from vdnnsim_paper.config import ClaimEntry
from vdnnsim_paper.printing import print_claims
from vdnnsim_paper.table import HEADER, cells, claims_csv, markdown


def entry(low: float | None, high: float | None, unit: str) -> ClaimEntry:
    return ClaimEntry(
        name="n", text="a claim", paper="what it says", low=low, high=high, unit=unit, mark="abstract", basis="times",
        why={"a-gpu": "because"},
    )  # fmt: skip


def claim(low: float | None, high: float | None, unit: str, value: float, band: tuple[float, float]) -> Claim:
    bar = BandedBar("case", Bar("g", "s", "", "left", value, unit), *band, 3, 1.0, Provenance.MODELLED)
    return Claim(entry(low, high, unit), Ours(value, *band, (bar,)), "a-gpu")


@pytest.mark.parametrize(
    ("low", "high", "unit", "value", "near"),
    [
        (89, 89, "%", 91, True),
        (89, 89, "%", 91.1, False),
        (28, 28, "GB", 29.4, True),
        (28, 28, "GB", 29.5, False),
        (60, None, "ms", 1000, True),
        (60, None, "ms", 57, True),
        (60, None, "ms", 56.9, False),
        (1, 7, "%", 4, True),
        (6, 6, "", 6, True),
        (6, 6, "", 7, False),
    ],
)
def test_near(low: float | None, high: float | None, unit: str, value: float, near: bool) -> None:
    assert is_near(entry(low, high, unit), value) is near


def test_a_row_says_all() -> None:
    row = dict(zip(HEADER, cells(claim(18, 18, "%", 22, (7, 22.5))), strict=True))
    assert row["ours"] == "22.0 %"
    assert row["band"] == "7.0 to 22.5 %"
    assert row["difference"] == "+4.0 points"
    assert row["near"] == "band"
    assert (row["ours is"], row["why they differ"]) == ("modelled", "because")


def test_a_band_that_does_not_reach_it_is_a_miss() -> None:
    assert cells(claim(18, 18, "%", 25, (19, 26)))[5] == "no"


def test_sizes_differ_by_a_share_and_counts_by_a_number() -> None:
    assert cells(claim(28, 28, "GB", 29.4, (29.4, 29.4)))[3:5] == ("", "+5.0 % of it")
    assert cells(claim(6, 6, "", 6, (6, 6)))[4] == "same"
    assert cells(claim(60, None, "ms", 66, (66, 66)))[4] == "within"


def test_tables_have_one_row_for_each_claim() -> None:
    claims = [claim(6, 6, "", 6, (6, 6)), claim(1, 7, "%", 4, (4, 4))]
    assert markdown(claims).count("\n") == 4
    assert len(claims_csv(claims).splitlines()) == 3


def test_the_paper_states_numbers_of_single_bars() -> None:
    """Of those that were read somewhere: the best saving of a network, a loss as performance."""

    def bar(case: str, series: str, part: str, axis: str, value: float, unit: str) -> BandedBar:
        return BandedBar(case, Bar(case, series, part, axis, value, unit), value, value, 3, 1.0, Provenance.MODELLED)

    found = {
        "11": (
            bar("AlexNet (128)", "vdnn-all(p)", "average saved", "right", 84.0, "%"),
            bar("AlexNet (128)", "vdnn-all(m)", "average saved", "right", 90.0, "%"),
        ),
        "12": (bar("VGG-16 (256)", "vdnn-all(m)", "", "left", 16.9, "GB"),),
        "14": (bar("VGG-16 (256)", "vdnn-dyn", "", "left", 0.78, ""),),
    }
    claims = compare_claims(found, "titan-x-maxwell")
    assert [claim.entry.name for claim in claims] == ["saved AlexNet", "loss VGG-16 (256)", "offloaded"]
    saved, loss = stated_values(claims)  # what is offloaded was not checked
    assert saved == ("11", "AlexNet (128)", "AlexNet (128)", "vdnn-all(m)", "right", 89, "%", "abstract")
    assert loss[:5] == ("14", "VGG-16 (256)", "VGG-16 (256)", "vdnn-dyn", "left")
    assert loss[5:] == (pytest.approx(0.82), "", "abstract")


def test_a_narrow_terminal_shows_the_band() -> None:
    text = io.StringIO()
    print_claims([claim(18, 18, "%", 22, (7, 22.5))], Console(file=text, width=80))
    [row] = [line for line in text.getvalue().splitlines() if line.startswith("a claim  ")]
    assert row.split() == ["a", "claim", "what", "it", "says", "22.0", "%", "7.0", "to", "22.5", "%", "band"]
    assert "+4.0 points" in text.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_without_bands_there_is_no_column_for_them(width: int) -> None:
    for band, there in (((7, 22.5), True), ((22, 22), False)):
        text = io.StringIO()
        print_claims([claim(18, 18, "%", 22, band)], Console(file=text, width=width))
        assert ("  band  " in text.getvalue().splitlines()[0]) is there
