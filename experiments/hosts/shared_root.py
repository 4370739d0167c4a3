"""How many GPUs may share one PCIe root before vDNN stops paying?

python experiments/hosts/shared_root.py

The root carries what one GPU reaches over its own link, out, in and both ways. vDNN pays as long as the slowest GPU's
iteration is shorter than one that saves the same memory without a link: every map made again, which takes one more
forward (Chen et al. 2016). Writes shared_root.csv beside this file, and docs/images/shared-root.png.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vdnnsim import SharedLink, Study, Topology, compare_together, make_study, write_text
from vdnnsim.figures import (
    INK,
    LIMIT_LINE,
    MARGIN_IN,
    TEXT_SIZE,
    WIDTH_IN,
    add_axes,
    new_figure,
    place_text,
    policy_looks,
    write_figure,
)

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("shared_root.csv")
FIGURE = ROOT / "docs" / "images" / "shared-root.png"
CASES = (
    ("titan-x-maxwell", "vgg16", 128),
    ("titan-x-maxwell", "googlenet", 128),
    ("titan-x-maxwell", "overfeat", 128),
    ("h100", "vgg16", 64),
    ("h100", "googlenet", 128),
    ("h100", "resnet50", 64),
)
GPUS = {"titan-x-maxwell": "Titan X, PCIe gen3", "h100": "H100, PCIe gen5"}
POLICIES = ("vdnn-conv(p)", "vdnn-all(p)", "vdnn-conv+recompute")
MOST_GPUS = 8
COLUMNS = (
    "gpu",
    "network",
    "batch",
    "policy",
    "gpus",
    "start",
    "slowest_ns",
    "spread_ns",
    "oracle_ns",
    "recompute_ns",
)
_TITLE = "How many GPUs may share one PCIe root before vDNN stops paying?"
_NOTE = (
    "fp32, behind a root as wide as one GPU's link. Bands: from all started together (marks) to every second one half\n"
    "an iteration later; on the H100 wider by what the measurements' spreads leave open, of the Titan X none are told."
)


class Row(NamedTuple):
    """The slowest of so many GPUs behind one root, by how much its iteration may be off, and what it is held against;
    all in nanoseconds."""

    gpu: str
    network: str
    batch: int
    policy: str
    gpus: int
    start: str
    slowest_ns: int
    spread_ns: int
    oracle_ns: int
    recompute_ns: int

    @property
    def pays(self) -> bool:
        """Whether it is shorter than making every map again."""
        return self.slowest_ns < self.recompute_ns


def root_of(study: Study, gpus: int) -> Topology:
    """So many GPUs behind one root, which carries what one of them reaches over its link."""
    link = study.gpu.link
    out, back = link.copy_out.bandwidth_bytes_per_s, link.copy_in.bandwidth_bytes_per_s
    root = SharedLink(
        "root",
        "root",
        "memory",
        out_bytes_per_s=out,
        in_bytes_per_s=back,
        both_out_bytes_per_s=out * 10**6 // link.both_ways_out_slowdown_ppm,
        both_in_bytes_per_s=back * 10**6 // link.both_ways_in_slowdown_ppm,
    )
    links = {"root": root, "memory": SharedLink("memory", "memory")}
    return Topology(f"root-x{gpus}", "One root", links, ("root",) * gpus)


def rows_of(gpu: str, network: str, batch: int, counts: Sequence[int]) -> list[Row]:
    """The rows of one network for so many GPUs each."""
    study = make_study(network, batch=batch, gpu=gpu)
    oracle = study.run("oracle").result
    recompute_ns = oracle.iteration_time_ns + sum(layer.forward_ns for layer in oracle.layers)
    found = []
    for gpus in counts:
        for start in ("together", "staggered"):
            for run in compare_together(study, gpus, root_of(study, gpus), POLICIES, start=start):
                alone, slowest = run.alone, run.slowest.result
                share = (alone.band.high_ns - alone.iteration_time_ns) / alone.iteration_time_ns if alone.band else 0.0
                spread_ns = round(share * slowest.iteration_time_ns)
                times = (slowest.iteration_time_ns, spread_ns, oracle.iteration_time_ns, recompute_ns)
                found.append(Row(gpu, network, batch, run.policy, gpus, start, *times))
    return found


def read_rows(path: Path = TABLE) -> list[Row]:
    """What was written."""
    words = ("gpu", "network", "policy", "start")
    with path.open(encoding="utf-8", newline="") as lines:
        return [
            Row(*(value if name in words else int(value) for name, value in one.items()))  # type: ignore[arg-type]
            for one in csv.DictReader(lines)
        ]


def most_that_pay(rows: Sequence[Row], gpu: str, network: str, batch: int, policy: str) -> int:
    """The most GPUs behind the root with which vDNN still pays, however they begin; 0 where it does not for one."""
    own = [row for row in rows if row[:4] == (gpu, network, batch, policy)]
    most = 0
    for gpus in sorted({row.gpus for row in own}):
        if not all(row.pays for row in own if row.gpus == gpus):
            break
        most = gpus
    return most


def draw(rows: Sequence[Row]) -> Figure:
    """A panel for each network and math: speed against the oracle over the number of GPUs."""
    columns, lines = 3, len(CASES) // 3
    panel_in = (WIDTH_IN - 0.55 - 2 * 0.3 - MARGIN_IN) / columns
    height_in = lines * 1.75 + 0.8
    figure = new_figure(height_in)
    for place, case in enumerate(CASES):
        column, line = place % columns, place // columns
        bottom_in = height_in - 0.62 - 1.75 * line - 1.3
        axes = add_axes(figure, 0.45 + column * (panel_in + 0.3), bottom_in, panel_in, 1.3)
        _draw_panel(axes, [row for row in rows if row[:3] == case])
        gpu, network, batch = case
        axes.set_title(f"{network} ({batch}), {GPUS[gpu]}", loc="left", size=TEXT_SIZE)
        if column == 0:
            axes.set_ylabel("speed, % of the oracle's")
        axes.set_xlabel("GPUs behind one root" if line == lines - 1 else "")
    handles: list[Line2D] = [
        Line2D([], [], label=name, **look.style()) for name, look in policy_looks(POLICIES).items()
    ]
    handles.append(Line2D([], [], label="every map made again, no link", **LIMIT_LINE))
    place_text(figure, MARGIN_IN, height_in - 0.17, _TITLE, weight="bold", size=TEXT_SIZE + 1)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1 - 0.2 / height_in), ncols=4)
    place_text(figure, MARGIN_IN, 0.06, _NOTE, size=TEXT_SIZE - 1, color=INK)
    return figure


def _draw_panel(axes: Axes, rows: Sequence[Row]) -> None:
    axes.axhline(100 * rows[0].oracle_ns / rows[0].recompute_ns, **LIMIT_LINE)
    for policy, look in policy_looks(POLICIES).items():
        counts = sorted({row.gpus for row in rows})
        lows, middles, highs = [], [], []
        for gpus in counts:
            own = [row for row in rows if row.policy == policy and row.gpus == gpus]
            longest = max(row.slowest_ns + row.spread_ns for row in own)
            shortest = min(row.slowest_ns - row.spread_ns for row in own)
            together = next(row for row in own if row.start == "together")
            lows.append(100 * together.oracle_ns / longest)
            highs.append(100 * together.oracle_ns / shortest)
            middles.append(100 * together.oracle_ns / together.slowest_ns)
        axes.fill_between(counts, lows, highs, color=look.colour, alpha=0.2, linewidth=0)
        axes.plot(counts, middles, **look.style())
    axes.set_xlim(0.7, MOST_GPUS + 0.3)
    axes.set_xticks(range(1, MOST_GPUS + 1))
    axes.set_ylim(0, 105)


def main() -> None:
    """Simulate, write the table and the figure, and say how many pay."""
    rows = [row for case in CASES for row in rows_of(*case, range(1, MOST_GPUS + 1))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_text(TABLE, text.getvalue())
    write_figure([FIGURE], _TITLE, _NOTE, lambda: draw(rows))
    for gpu, network, batch in CASES:
        counts = ", ".join(f"{policy} {most_that_pay(rows, gpu, network, batch, policy)}" for policy in POLICIES)
        print(f"{network} ({batch}), {GPUS[gpu]}: {counts}")


if __name__ == "__main__":
    main()
