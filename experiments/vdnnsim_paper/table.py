"""The table of claims: as text for Markdown and CSV, and the cells for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from vdnnsim_paper.claims import Claim

HEADER = ("claim", "paper", "ours", "band", "difference", "near", "paper's value is", "ours is", "why they differ")


def cells(claim: Claim) -> tuple[str, ...]:
    """One row of the table."""
    unit = claim.entry.unit
    ours = claim.ours
    low, high = with_unit(ours.low, unit), with_unit(ours.high, unit)
    band = "" if low == high else f"{_plain(ours.low, unit)} to {high}"
    return (
        claim.entry.text,
        claim.entry.paper,
        with_unit(ours.value, unit),
        band,
        _difference(claim),
        "yes" if claim.near else "band" if claim.band_holds_it else "no",
        claim.entry.mark,
        claim.how_sure,
        claim.why,
    )


def with_unit(value: float, unit: str) -> str:
    """A number for people, with its unit."""
    return f"{_plain(value, unit)} {unit}".rstrip()


def _plain(value: float, unit: str) -> str:
    match unit:
        case "%":
            return f"{value:.1f}"
        case "GB":
            return f"{value:.2f}"
        case _:
            return f"{value:.0f}"


def _difference(claim: Claim) -> str:
    difference = claim.difference
    if claim.entry.low != claim.entry.high:
        return "within" if not difference else f"{_signed(difference, claim.entry.unit)} outside"
    if claim.entry.unit == "GB" and claim.entry.low:
        return f"{100 * difference / claim.entry.low:+.1f} % of it"
    return _signed(difference, claim.entry.unit)


def _signed(difference: float, unit: str) -> str:
    if not unit:
        return f"{difference:+.0f}" if difference else "same"
    return f"{difference:+.1f} points" if unit == "%" else f"{difference:+.0f} {unit}"


def markdown(claims: Sequence[Claim]) -> str:
    """The table in Markdown."""
    rows = [HEADER, tuple("---" for _ in HEADER), *(cells(claim) for claim in claims)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def claims_csv(claims: Sequence[Claim]) -> str:
    """The table as CSV, with the numbers also as such."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *HEADER, "paper_low", "paper_high", "value", "low", "high", "unit"])
    for claim in claims:
        entry, ours = claim.entry, claim.ours
        numbers = [f"{number:.6g}" for number in ours[:3]]
        bounds = ["" if bound is None else bound for bound in (entry.low, entry.high)]
        writer.writerow([entry.name, *cells(claim), *bounds, *numbers, entry.unit])
    return text.getvalue()
