"""Every policy on some networks and GPUs, short of memory, beside the optimum's bound and plan.

python experiments/policies/table.py --out experiments/policies/results.csv        # half an hour
python experiments/policies/table.py --show experiments/policies/results.csv       # the tables of docs/policies.md

Memory is 60 and 40 % of what the oracle uses; the optimum is sought for so many seconds each.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from vdnnsim import InvalidInput, compare, write_text

SECONDS = 40
NETWORKS = (("alexnet", 128), ("vgg16", 64), ("googlenet", 128), ("resnet50", 64))
SHARES: dict[int, tuple[tuple[str, int], ...]] = {60: NETWORKS, 40: NETWORKS[1:]}
"""Per cent of the oracle's memory, and in which networks have room for more than their weights."""
GPUS = ("titan-x-maxwell", "h100", "h200")
POLICIES = ("all", "cdma(vdnn-all(p), density=0.5)")
LEFT_OUT = ("oracle",)
"""What everything is told over."""


class Row(NamedTuple):
    """One policy on a network and GPU, in `share` per cent of the oracle's memory, so many bytes: `over` is its
    iteration time over the oracle's, less 1, empty where it does not train or work; `why` then says so. The policies
    "bound" and "optimal" are the solver's."""

    network: str
    batch: int
    gpu: str
    share: int
    capacity_bytes: int
    policy: str
    over: float | None
    why: str


def rows_of(network: str, batch: int, gpu: str, share: int, seconds: int) -> list[Row]:
    """All policies of a network on a GPU; none where there is no trace."""
    try:
        (oracle,) = compare(network, batch=batch, gpu=gpu, policies=["oracle"])
    except InvalidInput:
        return []
    capacity_bytes = oracle.peak_bytes * share // 100
    optimal = f"optimal(seconds={seconds})"
    comparison = compare(network, batch=batch, gpu=gpu, capacity=capacity_bytes, policies=[*POLICIES, optimal])

    def row(policy: str, time_ns: int | None, why: str) -> Row:
        over = None if time_ns is None else round(time_ns / oracle.iteration_time_ns - 1, 6)
        return Row(network, batch, gpu, share, capacity_bytes, policy, over, why)

    rows = []
    for run in comparison.runs:
        result = run.result
        if result.policy in LEFT_OUT:
            continue
        name = "optimal" if result.policy == optimal else result.policy
        rows.append(row(name, result.iteration_time_ns if result.trainable else None, "" if result.trainable else "no"))
        if run.plan.bound:
            rows.append(row("bound", run.plan.bound.bound_ns, ""))
    return rows + [row(told.partition(":")[0], None, "refused") for told in comparison.left_out]


def as_csv(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return text.getvalue()


def read_rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(
                one["network"],
                int(one["batch"]),
                one["gpu"],
                int(one["share"]),
                int(one["capacity_bytes"]),
                one["policy"],
                float(one["over"]) if one["over"] else None,
                one["why"],
            )
            for one in csv.DictReader(lines)
        ]


def as_table(every: Sequence[Row], share: int) -> str:
    """A row for each policy, a column for each network and GPU, in this share of the memory."""
    rows = [row for row in every if row.share == share]
    columns = list(dict.fromkeys((row.network, row.batch, row.gpu, row.capacity_bytes) for row in rows))
    cells = {(row.policy, row.network, row.gpu): _cell(row) for row in rows}
    heads = [f"{network} ({batch}), {gpu}, {size / 1e9:.2f} GB" for network, batch, gpu, size in columns]
    lines = [f"| policy | {' | '.join(heads)} |", "|---" * (len(columns) + 1) + "|"]
    policies = list(dict.fromkeys(row.policy for row in rows))
    last = [name for name in ("optimal", "bound") if name in policies]
    for policy in [name for name in policies if name not in last] + last:
        found = [cells.get((policy, network, gpu), "") for network, _, gpu, _ in columns]
        lines.append(f"| {policy if policy == 'bound' else f'`{policy}`'} | {' | '.join(found)} |")
    return "\n".join(lines)


def _cell(row: Row) -> str:
    return row.why if row.over is None else f"{round(100 * row.over, 1) + 0.0:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the table to write, as it grows")
    parser.add_argument("--show", type=Path, help="print such a table as documents have it")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for the optimum of each network and GPU")
    given = parser.parse_args()
    if given.show:
        for share in SHARES:
            print(as_table(read_rows(given.show), share), end="\n\n")
    if given.out:
        rows: list[Row] = []
        for share, networks in SHARES.items():
            for (network, batch), gpu in product(networks, GPUS):
                rows += rows_of(network, batch, gpu, share, given.seconds)
                write_text(given.out, as_csv(rows))


if __name__ == "__main__":
    main()
