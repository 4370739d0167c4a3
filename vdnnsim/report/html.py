"""HTML tables for notebooks, with the columns of the terminal's."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from rich.table import Column, Table
from rich.text import Text

from vdnnsim.report.table import comparison_notes, comparison_table, layers_table
from vdnnsim.report.words import subject
from vdnnsim.results import Comparison, PolicyRun
from vdnnsim.units import format_bytes

if TYPE_CHECKING:
    from vdnnsim.study import Study


def comparison_html(comparison: Comparison) -> str:
    """One row per policy, and what the numbers are below."""
    return _html(subject(comparison), comparison_table(comparison), comparison_notes(comparison))


def run_html(run: PolicyRun) -> str:
    """One row per layer, and the policy's verdict below."""
    result = run.result
    return _html(result.summary, layers_table(run), [result.verdict if result.trainable else result.reason])


def study_html(study: Study) -> str:
    """What is to be run on what."""
    gpu, link = study.gpu, study.gpu.link
    out, back = link.copy_out.bandwidth_bytes_per_s, link.copy_in.bandwidth_bytes_per_s
    rows = {
        **study.workload.described,
        "trace": f"{study.trace.header.title}, {len(study.trace.rows)} rows",
        "GPU": f"{gpu.title}, {format_bytes(gpu.capacity_bytes)}",
        "link": f"{format_bytes(out)}/s out, {format_bytes(back)}/s in",
        "pool": study.pool,
        "weight gradients": study.weight_gradients.value,
    }
    table = Table("what", "", show_header=False)
    for what, text in rows.items():
        table.add_row(Text(what), Text(text))
    return _html("Study", table, ())


def _html(title: str, table: Table, notes: Iterable[str]) -> str:
    """A table of plain cells as HTML, numbers to the right."""
    columns = table.columns
    lines = ["<table>", f"<caption>{escape(title)}</caption>"]
    if table.show_header:
        lines.append(_row("th", columns, [column.header for column in columns]))
    cells = [list(column.cells) for column in columns]
    lines += [_row("td", columns, [column[row] for column in cells]) for row in range(table.row_count)]
    if table.show_footer:
        lines.append(_row("th", columns, [column.footer for column in columns]))
    lines.append("</table>")
    return "\n".join([*lines, *(f"<p>{escape(note)}</p>" for note in notes if note)])


def _row(tag: str, columns: Iterable[Column], cells: Iterable[object]) -> str:
    pairs = zip(columns, cells, strict=True)
    parts = (f'<{tag} style="text-align: {column.justify}">{_escaped(cell)}</{tag}>' for column, cell in pairs)
    return f"<tr>{''.join(parts)}</tr>"


def _escaped(cell: object) -> str:
    return escape(cell.plain if isinstance(cell, Text) else str(cell)).replace("\n", "<br>")
