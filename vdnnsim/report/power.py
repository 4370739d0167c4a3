"""What iterations draw, as a table for terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vdnnsim.errors import InvalidInput
from vdnnsim.report.columns import number_column, plain_table
from vdnnsim.report.terminal import print_table, print_text
from vdnnsim.results import PolicyResult
from vdnnsim.trace import weakest

_LEGEND = (
    "Watts of the profile's [power]: idle, with kernels, and what copies add; the ratio of two policies on a network "
    "says more than the watts"
)


def power_of(gpu: str, results: Iterable[PolicyResult]) -> list[PolicyResult]:
    """The results, each with what it draws. Raises `InvalidInput` where the profile of this GPU has no power
    figures."""
    found = [result for result in results if result.power is not None]
    if not found:
        raise InvalidInput(
            f"--power: found no [power] in the profile of {gpu}, expected idle_w, compute_w, copy_w; "
            "'vdnnsim calibrate link' measures them"
        )
    return found


def print_power(results: Sequence[PolicyResult], console: Console) -> None:
    """One row per result: energy, power on average and at most, and the label."""
    print_text(console, "\nWhat an iteration draws", "bold")
    print_table(console, power_table(results), ("peak",))
    print_text(console, power_note(results), "dim")


def power_note(results: Iterable[PolicyResult]) -> str:
    """What stands below the table: what the watts are, and their label."""
    return f"{_LEGEND} ({weakest(result.power_provenance for result in results).value})"


def power_table(results: Sequence[PolicyResult]) -> Table:
    """One row per result, each with what it draws."""
    table = plain_table()
    table.add_column("policy", no_wrap=True)
    drawn = [result.power for result in results if result.power]
    columns = [
        number_column(table, "energy\nJ", [one.energy_j for one in drawn]),
        number_column(table, "average\nW", [one.average_w for one in drawn], most_decimals=1),
        number_column(table, "peak\nW", [one.peak_w for one in drawn], most_decimals=1),
    ]
    for row, result in enumerate(results):
        table.add_row(
            Text(result.policy), *(Text(column[row], "" if result.trainable else "dim") for column in columns)
        )
    return table
