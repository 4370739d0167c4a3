"""Tables on a terminal, in a pipe, in a file: every name and number is whole, however narrow it is there."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.segment import Segment, Segments
from rich.table import Column, Table
from rich.text import Text

__all__ = ["output_console", "print_items", "print_table", "print_text"]

_ENDLESS = 100_000


def output_console() -> Console:
    """Standard output, without colours for what looks like a number."""
    return Console(highlight=False)


def print_table(console: Console, table: Table, spare: Iterable[str] = ()) -> None:
    """Print a table without cutting a cell. Where a terminal is too narrow, columns are left out, those whose headings
    begin with the words of `spare` in their order, and a line says so; where that is not enough, and in pipes and
    files, lines are longer than it is wide. Cells of columns that may wrap do so between words. No line ends in blanks.
    """
    for column in table.columns:
        column.min_width = _least_width(console, column)
    left_out = []
    for heading in spare if console.is_terminal else ():
        if _width(table) > console.width:
            left_out += [column for column in table.columns if str(column.header).startswith(heading)]
            table.columns = [column for column in table.columns if column not in left_out]
    _print_lines(console, table, max(console.width, _width(table)))
    if left_out:
        headings = ", ".join(" ".join(str(column.header).split()) for column in left_out)
        console.print(Text(f"Left out, a wider terminal shows: {headings}.", "dim"))


def print_text(console: Console, words: str, style: str = "") -> None:
    """Print words that wrap between each other. No line ends in blanks."""
    _print_lines(console, Text(words, style), console.width)


def print_items(console: Console, items: Iterable[tuple[str, Text]]) -> None:
    """Lines that begin with a name, the rest wrapped beside it, with a blank line before and behind."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in items:
        grid.add_row(Text(name, "bold"), text)
    if grid.row_count:
        console.print()
        print_table(console, grid)
        console.print()


def _least_width(console: Console, column: Column) -> int:
    """What a column needs for its longest line, or its longest word where it may wrap."""
    cells: list[RenderableType] = [column.header, *column.cells, column.footer]
    options = console.options.update(max_width=_ENDLESS)
    sizes = [Measurement.get(console, options, cell) for cell in cells]
    return max(size.maximum if column.no_wrap else size.minimum for size in sizes)


def _width(table: Table) -> int:
    """The least width at which no cell is cut."""
    between = sum(table.padding[1::2]) if table.box is None else 1
    return sum(column.min_width or 0 for column in table.columns) + between * (len(table.columns) - 1)


def _print_lines(console: Console, renderable: RenderableType, width: int) -> None:
    lines = console.render_lines(renderable, console.options.update_width(width), pad=False)
    segments = [segment for line in lines for segment in (*_without_blanks(line), Segment.line())]
    console.print(Segments(segments), soft_wrap=True, end="")


def _without_blanks(line: list[Segment]) -> list[Segment]:
    """The line up to its last letter."""
    kept = list(line)
    while kept and not kept[-1].text.rstrip():
        kept.pop()
    if kept:
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style, kept[-1].control)
    return kept
