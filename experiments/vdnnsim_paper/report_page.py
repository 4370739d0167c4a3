"""All of a reproduction in one file: how near it comes in words, the claims, every figure, what rests on what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vdnnsim.pages import Column, Grid, Items, Page, Picture, Row, Section, write_page
from vdnnsim_paper.bars import weakest_of
from vdnnsim_paper.claims import PERCENT, POINTS, Claim
from vdnnsim_paper.config import figure_config
from vdnnsim_paper.runs import FigureBars
from vdnnsim_paper.table import HEADER, cells

_FURTHEST = 3
_RULES = (
    ("the paper's value is", "abstract: stated there; second-hand: from others who cite it; unverified: recalled"),
    ("ours is", "the weakest label of the bars that the number was read from, and what it rests on"),
    ("band", "the number's range over traces in which what is modelled is moved within its spread"),
)


def write_report(
    bars: FigureBars, claims: Sequence[Claim], gpu: str, path: Path, command: str, left_out: Sequence[str] = ()
) -> None:
    """Write the page; the pictures of its figures lie beside it."""
    sections = [Section("The paper's claims", [_table(claims)])] if claims else []
    sections.append(Section("Figures", [_picture(name, path.parent) for name in bars]))
    sections.append(Section("Where the numbers are from", [Items(_RULES), _labels(bars)]))
    title = f"vDNN (MICRO 2016), reproduced on {gpu}"
    write_page(Page(title, _answer(claims, left_out), sections, command), path)


def _answer(claims: Sequence[Claim], left_out: Sequence[str]) -> list[tuple[str, str]]:
    answer = []
    if claims:
        near = [claim for claim in claims if claim.near]
        banded = [claim for claim in claims if not claim.near and claim.band_holds_it]
        told = f"{len(near)} of {len(claims)} claims within {POINTS:g} points, or {PERCENT:g} % of anything else"
        answer.append(("How near", told + (f"; of {len(banded)} more the band reaches it" if banded else "")))
        far = [claim for claim in claims if not claim.near and not claim.band_holds_it]
        answer += [(f"Not: {claim.entry.text}", _difference(claim)) for claim in far[:_FURTHEST]]
        if len(far) > _FURTHEST:
            answer.append(("And", f"{len(far) - _FURTHEST} more, in the table with their reasons"))
    if left_out:
        answer.append(("Left out", f"without a trace: {', '.join(left_out)}"))
    return answer


def _difference(claim: Claim) -> str:
    row = dict(zip(HEADER, cells(claim), strict=True))
    return f"{row['paper']}, here {row['ours']}. {row['why they differ']}"


def _table(claims: Sequence[Claim]) -> Grid:
    return Grid([Column(heading) for heading in HEADER], [Row(cells(claim)) for claim in claims])


def _picture(name: str, folder: Path) -> Picture:
    config = figure_config(name)
    picture = (folder / config.stem).with_suffix(".png")
    return Picture(picture.read_bytes(), "image/png", config.heading)


def _labels(bars: FigureBars) -> Grid:
    rows = [
        Row([figure_config(name).heading, str(len(found)), weakest_of(found).value]) for name, found in bars.items()
    ]
    return Grid([Column("figure"), Column("bars", True), Column("weakest label")], rows)
