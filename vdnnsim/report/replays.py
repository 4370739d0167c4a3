"""Replays of a logged program: a table of overheads, a row for each heuristic and memory; and all numbers as CSV."""

from __future__ import annotations

from rich.table import Table

from vdnnsim.replay import BYTES, Outcome, Replay, Replays
from vdnnsim.report.csv_text import rows_csv
from vdnnsim.report.words import shortened
from vdnnsim.units import format_bytes, format_ms

_SHORT = {Outcome.OVER_LIMIT: "over", Outcome.NO_ROOM: "none"}


def replays_subject(replays: Replays) -> str:
    """What was replayed, and what it takes in endless memory."""
    log = replays.log
    return (
        f"{shortened(log.name, 48)}: {format_ms(log.operators_ns)} of operators, peak {format_bytes(log.peak_bytes)}, "
        f"of which {format_bytes(log.constant_bytes)} are there from the beginning"
    )


def replays_table(replays: Replays) -> Table:
    """Overheads, a column for each budget."""
    table = Table(box=None, pad_edge=False)
    table.add_column("heuristic", no_wrap=True)
    table.add_column("memory", no_wrap=True)
    for size in replays.budgets_bytes:
        table.add_column(f"{size / max(replays.log.peak_bytes, 1):.2f}", justify="right", no_wrap=True)
    cells: dict[tuple[str, str], list[str]] = {}
    for one in replays.replays:
        cells.setdefault((one.heuristic, one.memory), []).append(_cell(replays, one))
    for (heuristic, memory), row in cells.items():
        table.add_row(heuristic, memory, *row)
    return table


def _cell(replays: Replays, one: Replay) -> str:
    return f"{one.replayed.overhead(replays.log):.4f}" if one.done else _SHORT[one.replayed.outcome]


def replays_note(replays: Replays) -> str:
    """What the cells say."""
    memory = "" if {one.memory for one in replays.replays} == {BYTES} else f"; {BYTES}: counted, without addresses"
    return (
        "Time of all operators over that in endless memory, by budget as a share of the peak; "
        f"over: more than {replays.limit:g} times; none: no room{memory}"
    )


def replays_csv(replays: Replays) -> str:
    """A row for each replay."""
    return rows_csv(replays.rows())
