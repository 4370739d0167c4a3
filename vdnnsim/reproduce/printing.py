"""The table of claims on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from vdnnsim.reproduce.claims import Claim
from vdnnsim.reproduce.table import HEADER, cells

_NARROWEST = 160
"""Characters that the table needs; a narrower terminal (or a file) gets the reasons below the table."""
_STYLES = {"yes": "green", "band": "yellow", "no": "red"}


def print_claims(claims: Sequence[Claim], console: Console) -> None:
    """Print the claims with our numbers, one row each, and why they differ."""
    wide = console.width >= _NARROWEST
    shown = len(HEADER) if wide else 6
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(HEADER[:shown]):
        table.add_column(name, no_wrap=not wide and index in (1, 2, 4), ratio=None)
    for claim in claims:
        row = cells(claim)
        style = _STYLES[row[5]]
        table.add_row(*(f"[{style}]{cell}[/]" if index == 5 else cell for index, cell in enumerate(row[:shown])))
    console.print(table)
    if not wide:
        for claim in claims:
            row = cells(claim)
            console.print(f"{row[0]}: paper's value {row[6]}, ours {row[7]}. {row[8]}.", style="dim")
    near = sum(claim.near for claim in claims)
    console.print(
        f"near (2 points or 5 %): {near} of {len(claims)}; 'band' where only the range of the trace's uncertainty "
        "reaches the paper's number"
    )
