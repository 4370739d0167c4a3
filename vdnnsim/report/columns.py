"""What the tables of terminals have in common: the box, and columns of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich import box
from rich.table import Table

FAILED = "bold red"
"""How what does not train, or was rejected, is shown."""


def plain_table() -> Table:
    """The box has a blank between columns already."""
    return Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)


def number_column(
    table: Table,
    title: str,
    values: Sequence[float],
    total: float | None = None,
    beside: Sequence[float] = (),
    most_decimals: int = 6,
) -> list[str]:
    """Add a column of numbers and return its cells: as many decimals as show the largest of these and of those in the
    columns `beside` with four digits or so."""
    largest = max(*values, *beside, total or 0.0, 0.0)
    decimals = decimals_of(largest, most_decimals)
    footer = "" if total is None else f"{total:.{decimals}f}"
    table.add_column(title, footer, justify="right", no_wrap=True)
    return [f"{value:.{decimals}f}" for value in values]


def decimals_of(largest: float, most: int = 6) -> int:
    """As many decimals as show this number with four digits or so, one at least."""
    return max(1, min(most, 3 - math.floor(math.log10(largest)))) if largest else 1
