"""How far the optimum's plans of captured steps are from its bound: measures it, and prints docs/policies.md's table.

    python experiments/optimal/steps.py h100 h200     # into steps_GPU.csv beside this
    python experiments/optimal/steps.py               # the table of what is there

Each case that was measured before is left as it is; delete its row to have it anew.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from vdnnsim import InvalidInput, compare_policies, make_policy, make_study

FOLDER = Path(__file__).resolve().parent
GPUS = ("h100", "h200")
CASES = (
    *((step, percent) for step in ("gpt_124M_b16", "gpt_350M_b8") for percent in (80, 60)),
    *(("resnet50_b128_fp32", percent) for percent in (80, 60, 40)),
)
"""Per cent of the bytes asked for where nothing leaves."""
SECONDS = 110


class Row(NamedTuple):
    """A step in a capacity: the times of the oracle, of the quickest other policy's plan and of the optimum's (0:
    none), what the model says of that (0: it is another policy's) and the bound; and seconds of processor time."""

    step: str
    gpu: str
    percent: int
    capacity_bytes: int
    oracle_ns: int
    other: str
    other_ns: int
    plan_ns: int
    model_ns: int
    bound_ns: int
    seconds: int


def main() -> None:
    for gpu in sys.argv[1:]:
        found = read(gpu)
        for step, percent in CASES:
            if (step, percent) not in {(row.step, row.percent) for row in found}:
                found.append(measured(gpu, step, percent))
                print(found[-1], flush=True)
                with path_of(gpu).open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([Row._fields, *found])
    if not sys.argv[1:]:
        print(table())


def measured(gpu: str, step: str, percent: int) -> Row:
    """One case."""
    named = step if gpu == GPUS[0] else f"{gpu}/{step}"
    oracle = make_study(named, gpu=gpu).run("oracle").result
    capacity_bytes = oracle.peak_bytes * percent // 100
    study = make_study(named, gpu=gpu, capacity=capacity_bytes)
    others = [
        run.result for run in compare_policies(study, ["all"]).runs if run.result.trainable and not run.plan.endless
    ]
    other = min(others, key=lambda result: result.iteration_time_ns, default=None)
    told: list[Any] = []
    optimal: Any = make_policy(f"optimal(seconds={SECONDS})")
    begin_s = process_time()
    plan_ns = model_ns = 0
    try:
        run = study.run(replace(optimal, told=told.append))
    except InvalidInput as error:
        print(error)
        bound_ns = told[-1].bound_ns if told else 0
    else:
        assert run.plan.bound is not None
        plan_ns, bound_ns = run.result.iteration_time_ns, run.plan.bound.bound_ns
        model_ns = run.plan.bound.model_ns or 0
    name, other_ns = (other.policy, other.iteration_time_ns) if other else ("none", 0)
    times_ns = oracle.iteration_time_ns, name, other_ns, plan_ns, model_ns, bound_ns
    return Row(step, gpu, percent, capacity_bytes, *times_ns, round(process_time() - begin_s))


def path_of(gpu: str) -> Path:
    return FOLDER / f"steps_{gpu}.csv"


def read(gpu: str) -> list[Row]:
    """What was measured before."""
    if not path_of(gpu).exists():
        return []
    with path_of(gpu).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    return [Row(*(int(value) if value.isdigit() else value for value in row)) for row in rows]  # type: ignore[arg-type]


def table() -> str:
    """As Markdown."""
    lines = [
        "| step | GPU | memory | nothing leaves ms | quickest other ms | plan ms | the model says | at least ms | gap "
        "| sought for |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in (row for gpu in GPUS for row in read(gpu)):
        times = [f"{ns / 1e6:.1f}" if ns else "none" for ns in (row.plan_ns, row.model_ns, row.bound_ns)]
        gap = f"{100 * (row.plan_ns / row.bound_ns - 1):.1f} %" if row.plan_ns else "-"
        other = f"{row.other_ns / 1e6:.1f} ({row.other})" if row.other_ns else "none"
        where = f"{row.percent} %, {row.capacity_bytes / 1e9:.2f} GB"
        cells = row.step, row.gpu, where, f"{row.oracle_ns / 1e6:.1f}", other, *times, gap, f"{row.seconds} s"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
