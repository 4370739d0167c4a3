"""How far policies are from the optimum, and along which capacities: measures both and draws both figures.

    python experiments/optimal/frontier.py gaps [GPU...]    # six networks in 80, 60 and 40 % of the oracle's memory
    python experiments/optimal/frontier.py frontier         # one network in twelve capacities
    python experiments/optimal/frontier.py draw             # the figures, and the table of docs/optimum.md

Each case that was measured before is left as it is; delete its rows to have it anew.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vdnnsim import InvalidInput, MissingTrace, Plan, compare_policies, make_policy, make_study
from vdnnsim.figures import (
    GRID,
    INK,
    LIMIT,
    POLICY_LOOKS,
    SMALL_SIZE,
    TEXT_SIZE,
    add_axes,
    new_figure,
    policy_looks,
    write_figure,
)

FOLDER = Path(__file__).resolve().parent
GPUS = ("titan-x-maxwell", "h200", "h100")
NETWORKS = (("alexnet", 128), ("overfeat", 128), ("googlenet", 128), ("vgg16", 64), ("vgg16", 128), ("vgg16", 256))
SHARES = (80, 60, 40)
"""Per cent of what the oracle uses."""
SHOWN = 60
FRONTIER = ("vgg16", 64, "titan-x-maxwell")
CAPACITIES = (39, 40, 42, 44, 46, 48, 51, 55, 60, 66, 73, 82)
SECONDS = 150
"""By the clock, of cores that others keep busy; what is told is processor time."""
OPTIMUM = "optimal"
MOST_LOSS = 80
"""What loses more is not drawn."""
PANEL_IN = 2.1
MARKS = "Xphd<>8sHP*v^oD"


class Row(NamedTuple):
    """A policy in a capacity; `time_ns` is 0 where it does not train, `bound_ns` that of the optimum's search."""

    network: str
    batch: int
    gpu: str
    percent: int
    capacity_bytes: int
    policy: str
    time_ns: int
    oracle_ns: int
    bound_ns: int
    seconds: int
    """Of processor time."""

    @property
    def loss(self) -> float:
        return 100 * (self.time_ns / self.oracle_ns - 1)

    @property
    def least(self) -> float:
        return max(0.0, 100 * (self.bound_ns / self.oracle_ns - 1))


def main() -> None:
    what, gpus = (sys.argv[1] if len(sys.argv) > 1 else ""), sys.argv[2:] or GPUS
    if what == "gaps":
        cases = ((network, batch, gpu, share) for gpu in gpus for network, batch in NETWORKS for share in SHARES)
        measure(FOLDER / "gaps.csv", cases, SECONDS)
    elif what == "frontier":
        measure(FOLDER / "frontier.csv", ((*FRONTIER, percent) for percent in CAPACITIES), SECONDS, carry=True)
    elif what == "draw":
        draw()
        print(table(read(FOLDER / "gaps.csv")))
    else:
        sys.exit(__doc__)


def measure(path: Path, cases: Iterable[tuple[str, int, str, int]], seconds: int, carry: bool = False) -> None:
    """Run what is not there yet; every case is written when it is done. With `carry` each search begins with the plans
    of those before it."""
    known: list[Plan] = []
    found = read(path)
    done = {(row.network, row.batch, row.gpu, row.percent) for row in found}
    for case in cases:
        if case in done:
            continue
        try:
            found += rows_of(*case, seconds, known)
        except MissingTrace:
            continue
        found.sort(key=lambda row: (GPUS.index(row.gpu), NETWORKS.index((row.network, row.batch)), -row.percent))
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(Row._fields)
            table.writerows(found)
        if not carry:
            known.clear()
        print(*case, flush=True)


def rows_of(network: str, batch: int, gpu: str, percent: int, seconds: int, known: list[Plan]) -> Iterator[Row]:
    """All policies in this share of what the oracle uses, and the optimum, whose plan becomes a known one."""
    oracle = make_study(network, batch=batch, gpu=gpu).run("oracle").result
    capacity_bytes = oracle.peak_bytes * percent // 100
    study = make_study(network, batch=batch, gpu=gpu, capacity=capacity_bytes)
    runs = list(compare_policies(study, ["all"]).runs)
    bound_ns = taken_s = 0
    begin_s = process_time()
    optimal: Any = make_policy(f"{OPTIMUM}(seconds={seconds})")
    try:
        best = study.run(replace(optimal, known=tuple(known)))
    except InvalidInput as error:
        print(error)
    else:
        assert best.plan.bound is not None
        bound_ns, taken_s = best.plan.bound.bound_ns, round(process_time() - begin_s)
        runs.append(best)
        known.append(best.plan)
    for run in runs:
        result = run.result
        time_ns = result.iteration_time_ns if result.trainable else 0
        name = result.policy.partition("(seconds")[0]
        where = network, batch, gpu, percent, capacity_bytes
        yield Row(*where, name, time_ns, oracle.iteration_time_ns, bound_ns, taken_s)


def read(path: Path) -> list[Row]:
    """What was measured; nothing where that is not there."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(*(line[name] if name in ("network", "gpu", "policy") else int(line[name]) for name in Row._fields))
            for line in csv.DictReader(file)
        ]


def table(rows: Iterable[Row]) -> str:
    """What the best plan loses, what any must, and how far the two are from each other, in Markdown."""
    lines = ["| network | GPU | memory | best plan | at least | gap | sought for |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if row.policy == OPTIMUM:
            gap = 100 * (row.time_ns / row.bound_ns - 1)
            memory = f"{row.percent} %, {row.capacity_bytes / 1e9:.2f} GB"
            lines.append(
                f"| {row.network} ({row.batch}) | {row.gpu} | {memory} | {row.loss:.1f} % | {row.least:.1f} % | "
                f"{gap:.2f} % | {row.seconds} s |"
            )
    return "\n".join(lines)


def draw() -> None:
    """Both figures."""
    note = "optimal, and the policies of docs/policies.md; capacities in percent of what the oracle uses"
    gaps, frontier = read(FOLDER / "gaps.csv"), read(FOLDER / "frontier.csv")
    write_figure([FOLDER / "loss.png"], "Loss by policy", note, lambda: loss_figure(gaps))
    write_figure([FOLDER / "frontier.png"], "Time over memory", note, lambda: frontier_figure(frontier))


def loss_figure(rows: Iterable[Row]) -> Figure:
    """A panel for each GPU: of each network in `SHOWN` per cent what policies lose, the optimum, and the bound as a
    line."""
    shown = [row for row in rows if row.percent == SHOWN]
    gpus = [gpu for gpu in GPUS if any(row.gpu == gpu for row in shown)]
    cases = [case for case in NETWORKS if any((row.network, row.batch) == case for row in shown)]
    looks = looks_of(shown)
    height_in = PANEL_IN * len(gpus) + 0.65
    figure = new_figure(height_in)
    for number, gpu in enumerate(gpus):
        axes = add_axes(figure, 0.55, 0.85 + PANEL_IN * (len(gpus) - 1 - number), 6.35, PANEL_IN - 0.5)
        of_gpu = [row for row in shown if row.gpu == gpu]
        for place, case in enumerate(cases):
            found = [row for row in of_gpu if (row.network, row.batch) == case]
            for nth, policy in enumerate(looks):
                losses = [row.loss for row in found if row.policy == policy and row.time_ns and row.loss <= MOST_LOSS]
                x = place - 0.4 + 0.8 * nth / max(1, len(looks) - 1)
                axes.plot([x] * len(losses), losses, **looks[policy].style(line=False))
            if not found:
                axes.text(place, MOST_LOSS / 2, "no trace", ha="center", color=INK, size=SMALL_SIZE)
            elif found[-1].bound_ns:
                axes.plot([place - 0.44, place + 0.44], [found[-1].least] * 2, color=LIMIT, linewidth=1)
        axes.set_xticks(range(len(cases)), [f"{network} ({batch})" for network, batch in cases])
        axes.set_xlim(-0.5, len(cases) - 0.5)
        axes.set_ylim(-2, MOST_LOSS)
        axes.set_ylabel("loss, % of the oracle")
        axes.set_title(f"{gpu}, {SHOWN} % of what the oracle uses", loc="left", size=TEXT_SIZE, color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.5)
        axes.set_axisbelow(True)
    legend(figure, looks)
    return figure


def frontier_figure(rows: Iterable[Row]) -> Figure:
    """Each policy's time in each capacity in which it trains; the optimum's plans and bounds as lines."""
    found = list(rows)
    looks = looks_of(found)
    figure = new_figure(3.9)
    axes = add_axes(figure, 0.55, 0.95, 6.35, 2.7)
    for policy, look in looks.items():
        trained = (row for row in found if row.policy == policy and row.time_ns and row.loss <= MOST_LOSS)
        own = sorted((row.capacity_bytes, row.time_ns) for row in trained)
        style = {**look.style(), "linewidth": 1.8 if policy == OPTIMUM else 0.6}
        axes.plot(*in_gb_and_ms(own), zorder=3 if policy == OPTIMUM else 2, **style)
    bounds = sorted({(row.capacity_bytes, row.bound_ns) for row in found if row.bound_ns})
    axes.plot(*in_gb_and_ms(bounds), color=LIMIT, linewidth=1, linestyle="--", zorder=4)
    network, batch, gpu = FRONTIER
    axes.set_title(f"{network} ({batch}) on {gpu}", loc="left", size=TEXT_SIZE, color=INK)
    axes.set_xlabel("device memory, GB")
    axes.set_ylabel("iteration, ms")
    axes.grid(color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    legend(figure, looks)
    return figure


def in_gb_and_ms(points: Iterable[tuple[int, int]]) -> tuple[list[float], list[float]]:
    """Capacities and times as the axes have them."""
    found = list(points)
    return [capacity_bytes / 1e9 for capacity_bytes, _ in found], [time_ns / 1e6 for _, time_ns in found]


def looks_of(rows: Iterable[Row]) -> dict[str, Any]:
    """A look for each policy that is drawn, the same in both figures; see `all_looks`."""
    names = drawn(rows)
    return {name: look for name, look in all_looks().items() if name in names}


@cache
def all_looks() -> dict[str, Any]:
    """The optimum's is the plainest; what has no look of its own has a mark."""
    names = drawn(row for name in ("gaps", "frontier") for row in read(FOLDER / f"{name}.csv"))
    marks = iter(MARKS)
    looks = {
        name: look if name in POLICY_LOOKS else look._replace(marker=next(marks))
        for name, look in policy_looks(name for name in names if name not in ("oracle", OPTIMUM)).items()
    }
    return {**looks, OPTIMUM: policy_looks(["oracle"])["oracle"]._replace(line="-", marker="o")}


def drawn(rows: Iterable[Row]) -> dict[str, None]:
    """The policies that train somewhere and lose no more than is drawn."""
    return dict.fromkeys(row.policy for row in rows if row.time_ns and row.loss <= MOST_LOSS)


def legend(figure: Figure, looks: Mapping[str, Any]) -> None:
    """Under the panels; the bound is a line."""
    handles = [Line2D([], [], label=name, **look.style(line=False)) for name, look in looks.items()]
    handles.append(Line2D([], [], color=LIMIT, linewidth=1, label="bound: none is quicker"))
    figure.legend(handles=handles, loc="lower center", ncols=6, fontsize=SMALL_SIZE, handletextpad=0.3, columnspacing=1)


if __name__ == "__main__":
    main()
