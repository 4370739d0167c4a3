"""The tables of the terminal as those of a page: the same columns, the same cells."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from vdnnsim.pages.parts import Column, Grid, Row


def grid_of(table: Table, caption: str = "", folded: bool = False) -> Grid:
    """A table of plain cells, with the totals as its last row; a row is faint where the terminal dims its numbers."""
    columns = [Column(_plain(column.header), column.justify == "right") for column in table.columns]
    cells = [list(column.cells) for column in table.columns]
    rows = [_row([column[number] for column in cells]) for number in range(table.row_count)]
    if table.show_footer:
        rows.append(_row([column.footer for column in table.columns]))
    return Grid(columns, rows, caption, folded)


def _row(cells: list[object]) -> Row:
    faint = any(isinstance(cell, Text) and cell.style == "dim" for cell in cells)
    return Row([_plain(cell) for cell in cells], faint)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)
