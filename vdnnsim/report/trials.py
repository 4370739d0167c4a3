"""Tables for terminals of what a policy tried, as vDNN-dyn does, and of what it chose in the end."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vdnnsim.policies import Plan, Trial
from vdnnsim.report.columns import FAILED, number_column, plain_table
from vdnnsim.report.terminal import print_items, print_table, print_text
from vdnnsim.report.words import byte_unit
from vdnnsim.results import PolicyRun


def trials_table(run: PolicyRun) -> Table:
    """One row for each configuration that a policy tried, in order."""
    trials = run.result.trials
    table = plain_table()
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("configuration", overflow="fold")
    table.add_column("outcome", no_wrap=True)
    times = number_column(table, "iter. ms", [trial.iteration_time_ns / 1e6 for trial in trials])
    unit, unit_bytes = byte_unit(max((trial.peak_bytes for trial in trials), default=0))
    peaks = number_column(table, f"peak {unit}", [trial.peak_bytes / unit_bytes for trial in trials])
    taken = _taken(run)
    for index, trial in enumerate(trials):
        dim = "" if trial.fits else "dim"
        outcome = Text("rejected", FAILED) if not trial.fits else Text("taken" if index == taken else "fits")
        table.add_row(str(index + 1), Text(trial.title), outcome, Text(times[index], dim), Text(peaks[index], dim))
    return table


def print_trials(run: PolicyRun, console: Console) -> None:
    """What a policy tried, in order, and where the algorithms it chose are not the fastest."""
    result = run.result
    if not result.trials:
        print_text(console, f"{result.policy} decides without trying anything.")
        return
    console.print()
    print_text(console, f"{result.policy}: what it tried, in this order", "bold")
    print_table(console, trials_table(run))
    rejected = [(str(number), trial) for number, trial in enumerate(result.trials, start=1) if not trial.fits]
    print_items(console, ((number, Text(trial.verdict)) for number, trial in rejected))
    if rejected:
        print_text(console, "Numbers of what was rejected: as it would run if the memory had room.", "dim")
    _print_slower_choices(run.plan, result.trials, console)


def _taken(run: PolicyRun) -> int | None:
    """The trial that the run's plan is from: the last of equals."""
    plan = run.plan
    for index in range(len(run.result.trials) - 1, -1, -1):
        tried = run.result.trials[index].plan
        if (tried.layout, tried.offload, tried.algorithms) == (plan.layout, plan.offload, plan.algorithms):
            return index
    return None


def _print_slower_choices(plan: Plan, trials: Iterable[Trial], console: Console) -> None:
    """Where the plan's algorithms are not those of the first trial that takes the fastest everywhere."""
    fastest = next((trial.plan for trial in trials if trial.title.endswith("fastest")), None)
    if fastest is None:
        return
    slower = [key for key, algorithm in plan.algorithms.items() if algorithm != fastest.algorithms.get(key)]
    if not slower:
        print_text(console, "Every pass runs its fastest algorithm.")
        return
    print_text(console, "passes that do not run their fastest algorithm", "bold")
    table = plain_table()
    for title in ("layer", "pass", "fastest", "chosen"):
        table.add_column(title, no_wrap=True)
    wanted_mb = [fastest.workspaces.get(key, 0) / 1e6 for key in slower]
    given_mb = [plan.workspaces.get(key, 0) / 1e6 for key in slower]
    wanted = number_column(table, "workspace\nMB", wanted_mb)
    given = number_column(table, "chosen's\nMB", given_mb, beside=wanted_mb)
    for row, (layer, pass_) in enumerate(slower):
        names = (layer, pass_, fastest.algorithms.get((layer, pass_), ""), plan.algorithms[layer, pass_])
        table.add_row(*map(Text, names), wanted[row], given[row])
    print_table(console, table, ("workspace", "chosen's"))
