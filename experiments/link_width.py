"""How wide must the link be, so that offloading costs less than 5 %, on each GPU of the last ten years?

Carries traces over to the GPUs that nobody timed, runs `link-width.toml` (100,200 points), and writes
`expected/link-width.csv`, the figure, and the table in README.md beside this file.

    python experiments/link_width.py [--cluster ADDRESS]
"""

import argparse
import csv
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from marked import write_table
from vdnnsim import (
    list_traces,
    load_profile,
    model_trace,
    plan_sweep,
    read_sweep,
    run_sweep,
    trace_path,
    write_trace,
)
from vdnnsim.figures import FAINT, GRID, INK, POLICY_LOOKS, SMALL_SIZE, add_axes, new_figure, place_text, write_figure

FOLDER = Path(__file__).resolve().parent
SPEC = FOLDER / "link-width.toml"
STORED = FOLDER / "expected" / "link-width.csv"
FIGURE = FOLDER.parent / "docs" / "images" / "link-width.png"
README = FOLDER / "README.md"
TIMED = "h200"
LOSS = 0.05
WIDEST = 2000
POLICIES = ("vdnn-conv(p)", "vdnn-all(p)")
YEARS = {
    "titan-x-maxwell": 2015, "p100-pcie-16": 2016, "v100-pcie-32": 2017, "v100-sxm2-32": 2017, "t4": 2018,
    "a100-40": 2020, "a100-80-dual-socket": 2020, "a100-80-pcie": 2021, "mi250x": 2021, "a10": 2021, "h100-pcie": 2022,
    "h100": 2022, "rtx-4090": 2022, "l4": 2023, "gh200": 2023, "gh200-4": 2023, "h200": 2024, "gb200": 2024,
    "gb300": 2025, "gb300-station": 2025,
}  # fmt: skip
"""When each was sold first."""
TITAN, TITAN_OFF, CARRIED_OFF = "titan-x-maxwell", 0.15, 0.3
"""By how much kernels may be off: the Titan X's traces agree within 15 % with totals that they were not fitted to;
those carried over to another generation are off by 30 % in nine tenths of iterations (docs/profiles.md). Those of the
H100 and the H200 were measured."""


class Width(NamedTuple):
    """The least link, in GB/s of each way, at which a policy loses less than 5 % on a GPU: with kernels as they are,
    with slower ones and with faster ones; None where the widest of the sweep does not do. `has` is the slower of the
    ways of the link that the GPU has."""

    gpu: str
    year: int
    network: str
    batch: int
    policy: str
    has: float
    needs: float | None
    low: float | None
    high: float | None


def traces_into(folder: Path) -> None:
    """Traces of what the spec asks for and nobody timed."""
    axes = tomllib.loads(SPEC.read_text(encoding="utf-8"))["axes"]
    timed = {(header.gpu, header.network, header.batch) for _, header in list_traces() if header.math == "fp32"}
    for gpu in axes["gpu"]:
        for network, batch in zip(axes["network"], axes["batch"], strict=True):
            if (gpu, network, batch) not in timed:
                table = trace_path(folder, gpu, network, batch, "fp32")
                table.parent.mkdir(exist_ok=True)
                write_trace(model_trace(network, batch=batch, source=TIMED, target=gpu).trace, table)


def widths(frame: Any) -> list[Width]:
    """The answer, from the rows of the sweep."""
    timed = {header.gpu for _, header in list_traces()}
    found = []
    for (network, batch, gpu, policy), rows in frame.groupby(["network", "batch", "gpu", "policy"], sort=False):
        off = TITAN_OFF if gpu == TITAN else 0.0 if gpu in timed else CARRIED_OFF
        least = [_least(rows, round(scale * 1e6)) for scale in (1, 1 - off, 1 + off)]
        link = load_profile(gpu).link
        has = min(link.copy_out.bandwidth_bytes_per_s, link.copy_in.bandwidth_bytes_per_s) / 1e9
        found.append(Width(gpu, YEARS[gpu], network, int(batch), policy, round(has, 1), *least))
    return found


def _least(rows: Any, scale_ppm: int) -> float | None:
    """The least bandwidth from which on all wider ones do."""
    own = rows[(rows.compute_scale_ppm == scale_ppm) & (rows.status == "ok")]
    least = None
    for row in own.sort_values("link_bandwidth_bytes_per_s", ascending=False).itertuples():
        if row.performance < 1 - LOSS:
            break
        least = row.link_bandwidth_bytes_per_s / 1e9
    return None if least is None else round(least, 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cluster", help="the address of a dask scheduler")
    cluster = parser.parse_args().cluster
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        traces_into(folder)
        sweep = plan_sweep(SPEC, folders=[folder])
        began_s = time.monotonic()
        run_sweep(sweep, folder / "out", cluster=cluster)
        print(f"{sweep.size.points} points in {time.monotonic() - began_s:.0f} s", file=sys.stderr)
        columns = ["network", "batch", "gpu", "policy", "compute_scale_ppm", "link_bandwidth_bytes_per_s", "status"]
        found = widths(read_sweep(folder / "out", [*columns, "performance"]))
    with STORED.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(Width._fields)
        writer.writerows(found)
    write_table(README, "link width", table(found))
    write_figure([FIGURE], "Link that offloading needs, and has", "", lambda: figure(found))


def read() -> list[Width]:
    """What was stored."""
    with STORED.open(encoding="utf-8", newline="") as rows:
        return [
            Width(
                gpu, int(year), network, int(batch), policy, float(has), *(float(one) if one else None for one in least)
            )
            for gpu, year, network, batch, policy, has, *least in list(csv.reader(rows))[1:]
        ]


def table(found: Iterable[Width]) -> str:
    """One row for each GPU: what it has, and what each network needs under each policy."""
    by_gpu: dict[str, dict[tuple[str, str], Width]] = {}
    for one in found:
        by_gpu.setdefault(one.gpu, {})[one.network, one.policy] = one
    columns = list(next(iter(by_gpu.values())))
    heads = " | ".join(f"{network} `{policy}`" for network, policy in columns)
    lines = [f"| GPU | year | has | {heads} |", "|---|---|---|" + "---|" * len(columns)]
    for gpu, widths_of in by_gpu.items():
        first = next(iter(widths_of.values()))
        cells = " | ".join(_cell(widths_of[column]) for column in columns)
        lines.append(f"| {gpu} | {first.year} | {first.has:.0f} | {cells} |")
    return "\n".join(lines) + "\n"


def _cell(one: Width) -> str:
    if one.needs is None:
        return "none does"
    high = "none" if one.high is None else f"{one.high:.0f}"
    band = "" if one.low == one.high else f" ({one.low:.0f} to {high})"
    text = f"{one.needs:.0f}{band}"
    return f"**{text}**" if one.needs <= one.has else text


def figure(found: list[Width]) -> Figure:
    """A panel for each network, a row for each GPU: what offloading needs, with its band, and the link that it has."""
    gpus = list(dict.fromkeys(one.gpu for one in found))
    networks = list(dict.fromkeys((one.network, one.batch) for one in found))
    drawn = new_figure(0.165 * len(gpus) + 0.92)
    height_in = 0.165 * len(gpus)
    for place, (network, batch) in enumerate(networks):
        left_in = 1.3 + 1.93 * place
        axes = add_axes(drawn, left_in, 0.68, 1.75, height_in)
        _panel(axes, [one for one in found if one.network == network], gpus)
        axes.set_xlabel("link, each way (GB/s)")
        place_text(drawn, left_in, height_in + 0.74, f"{network} ({batch})", weight="bold", size=SMALL_SIZE + 1)
        if place:
            axes.set_yticklabels([])
        else:
            axes.set_yticks(range(len(gpus)), [f"{gpu}  {YEARS[gpu]}" for gpu in gpus], size=SMALL_SIZE)
    handles = [
        Line2D([], [], **{**POLICY_LOOKS[name].style(), "linewidth": 1.6}, label=f"{name} needs") for name in POLICIES
    ]
    handles.append(Line2D([], [], color=INK, marker="|", markersize=6, linestyle="none", label="the GPU has"))
    drawn.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 0.035), ncols=3, fontsize=SMALL_SIZE)
    note = "Loss of 5 % against endless memory. Bars: kernels slower or faster by 30 % where traces were carried over."
    place_text(drawn, 0.08, 0.05, note, size=SMALL_SIZE, color=FAINT)
    return drawn


def _panel(axes: Axes, found: list[Width], gpus: list[str]) -> None:
    for one in found:
        look = POLICY_LOOKS[one.policy]
        y = gpus.index(one.gpu) + (0.17 if one.policy == POLICIES[1] else -0.17)
        needs, low, high = (WIDEST if least is None else least for least in (one.needs, one.low, one.high))
        axes.plot([low, high], [y, y], color=look.colour, linewidth=1.6, alpha=0.5, solid_capstyle="butt")
        axes.plot([needs], [y], marker=">" if one.needs is None else look.marker, color=look.colour, markersize=3)
    for row, gpu in enumerate(gpus):
        has = next(one.has for one in found if one.gpu == gpu)
        axes.plot([has, has], [row - 0.42, row + 0.42], color=INK, linewidth=1.1)
    axes.set_xscale("log")
    axes.set_xlim(5, WIDEST)
    axes.set_xticks([10, 30, 100, 300, 1000], ["10", "30", "100", "300", "1000"])
    axes.minorticks_off()
    axes.set_ylim(len(gpus) - 0.5, -0.5)
    axes.set_yticks(range(len(gpus)))
    axes.grid(axis="both", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


if __name__ == "__main__":
    main()
