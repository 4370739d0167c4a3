"""The table of claims on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from vdnnsim.report.terminal import print_table
from vdnnsim_paper.claims import Claim
from vdnnsim_paper.table import HEADER, cells

_WIDE = 160
"""Characters that the whole table needs; a narrower terminal (or a file) gets the differences and the reasons below."""
_BAND = 3
_NARROW = (0, 1, 2, _BAND, 5)
"""The columns of the narrower table."""
_STYLES = {"yes": "green", "band": "yellow", "no": "red"}


def print_claims(claims: Sequence[Claim], console: Console) -> None:
    """Print the claims with our numbers, one row each, and why they differ."""
    rows = [cells(claim) for claim in claims]
    banded = any(row[_BAND] for row in rows)
    wide = console.width >= _WIDE
    shown = [index for index in (range(len(HEADER)) if wide else _NARROW) if index != _BAND or banded]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index in shown:
        table.add_column(HEADER[index])
    for row in rows:
        style = _STYLES[row[5]]
        table.add_row(*(f"[{style}]{row[index]}[/]" if index == 5 else row[index] for index in shown))
    print_table(console, table)
    if not wide:
        for row in rows:
            console.print(f"{row[0]}: {row[4]}. Paper's value: {row[6]}; ours: {row[7]}. {row[8]}.", style="dim")
    near = sum(claim.near for claim in claims)
    console.print(
        f"near (2 points or 5 %): {near} of {len(claims)}; 'band' where only the range of the trace's uncertainty "
        "reaches the paper's number"
    )
