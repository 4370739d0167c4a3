"""How far off traces are that were carried over to another GPU, where that GPU was measured: kernels, and whole
iterations under every policy. Writes the iterations as `expected/carried-over.csv`, the table in docs/profiles.md and
the figure.

    python experiments/carried_over.py
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marked import write_table
from vdnnsim import (
    CaseRecord,
    Kind,
    Trace,
    compare,
    find_trace,
    list_traces,
    load_network,
    model_trace,
    read_records,
)
from vdnnsim.figures import (
    FAINT,
    GRID,
    INK,
    PASS_COLOURS,
    POLICY_LOOKS,
    SMALL_SIZE,
    add_axes,
    new_figure,
    place_text,
    write_beside,
    write_figure,
)

FOLDER = Path(__file__).resolve().parent
STORED = FOLDER / "expected" / "carried-over.csv"
FIGURE = FOLDER.parent / "docs" / "images" / "carried-over.png"
PAGE = FOLDER.parent / "docs" / "profiles.md"
WAYS = (("h200", "h100"), ("h100", "h200"), ("titan-x-maxwell", "h200"))
LEAST_NS = 20_000
"""Shorter kernels are left out of the kernels' errors: they measure the launch."""
UNTOLD = "cannot be told here"
_Key = tuple[str, int, str]


class Off(NamedTuple):
    """One number carried over, and what was measured. `what` is "kernel" with its class and algorithm, or "iteration"
    with its policy."""

    source: str
    target: str
    network: str
    batch: int
    math: str
    what: str
    name: str
    measured_ns: int
    carried_ns: int

    @property
    def error(self) -> float:
        return self.carried_ns / self.measured_ns - 1


def check(ways: Iterable[tuple[str, str]] = WAYS, only: str = "") -> Iterator[Off]:
    """Everything that can be checked; of one network only where it is named."""
    timed: dict[str, set[_Key]] = {}
    for _, header in list_traces():
        timed.setdefault(header.gpu, set()).add((header.network, header.batch, header.math))
    for source, target in ways:
        records = read_records(FOLDER / "calibration" / target / "results.json")
        for key in sorted(timed[source]):
            told = [one for one in records if (one.network, one.batch, one.math) == key and one.verdict != UNTOLD]
            if only in ("", key[0]) and (told or key in timed[target]):
                yield from _check(source, target, key, told, key in timed[target])


def _check(source: str, target: str, key: _Key, records: list[CaseRecord], rows: bool) -> Iterator[Off]:
    name, batch, math = key
    carried = model_trace(name, batch=batch, source=source, target=target, math=math).trace
    if rows:
        measured = find_trace(load_network(name, batch), target, math)
        yield from (Off(source, target, *key, "kernel", *row) for row in _rows(name, batch, carried, measured))
    for capacity in dict.fromkeys(record.capacity_bytes for record in records):
        own = {record.policy: record for record in records if record.capacity_bytes == capacity}
        found = compare(name, batch=batch, gpu=target, math=math, trace=carried, capacity=capacity, policies=list(own))
        for result in found:
            measured_ns = own[result.policy].measured_iteration_time_ns
            yield Off(source, target, *key, "iteration", result.policy, measured_ns, result.iteration_time_ns)


def _rows(name: str, batch: int, carried: Trace, measured: Trace) -> Iterator[tuple[str, int, int]]:
    kinds = {layer.name: layer.kind for layer in load_network(name, batch).layers}
    known = {(row.layer, row.pass_, row.algorithm): row.duration_ns for row in measured.rows}
    for row in carried.rows:
        measured_ns = known.get((row.layer, row.pass_, row.algorithm), 0)
        if measured_ns >= LEAST_NS:
            kind = kinds[row.layer]
            yield f"CONV {row.algorithm}" if kind is Kind.CONV else str(kind), measured_ns, row.duration_ns


def main() -> None:
    found = list(check())
    with STORED.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(Off._fields)
        writer.writerows(one for one in found if one.what == "iteration")
    write_table(PAGE, "carried over", table(found))
    draw(found)


def read() -> list[Off]:
    """What was stored: the iterations."""
    with STORED.open(encoding="utf-8", newline="") as rows:
        return [Off(*row[:3], int(row[3]), *row[4:7], int(row[7]), int(row[8])) for row in list(csv.reader(rows))[1:]]


def table(found: list[Off]) -> str:
    """By direction the errors of kernels and of iterations, in percent: the middle, nine tenths, the largest."""
    lines = [
        "| from | to | what | cases | middle | nine tenths within | largest | mean, signed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for source, target in WAYS:
        own = [one for one in found if (one.source, one.target) == (source, target)]
        groups = {"kernels of 20 us and more": [one for one in own if one.what == "kernel"]}
        groups["iterations"] = [one for one in own if one.what == "iteration"]
        for policy in dict.fromkeys(one.name for one in groups["iterations"]):
            groups[f"`{policy}`"] = [one for one in groups["iterations"] if one.name == policy]
        lines += [f"| {source} | {target} | {what} | {_summary(group)} |" for what, group in groups.items() if group]
    return "\n".join(lines) + "\n"


def _summary(group: list[Off]) -> str:
    errors = [100 * one.error for one in group]
    sizes = sorted(map(abs, errors))
    tenths = quantiles(sizes, n=10)[-1] if len(sizes) > 1 else sizes[0]
    mean = sum(errors) / len(errors)
    return f"{len(group)} | {median(sizes):.1f} % | {min(tenths, sizes[-1]):.1f} % | {sizes[-1]:.1f} % | {mean:+.1f} %"


def draw(found: list[Off]) -> None:
    """(a) Kernels by kind, quartiles and nine tenths; (b), (c) iterations by policy, one dot for each case."""
    write_figure([FIGURE], "Traces carried over, and measured", "", lambda: _figure(found))


def _figure(found: list[Off]) -> Figure:
    figure = new_figure(3.36)
    near = [one for one in found if one.source != "titan-x-maxwell"]
    far = [one for one in found if one.source == "titan-x-maxwell"]
    kinds = sorted(
        {one.name for one in near if one.what == "kernel"}, key=lambda name: (not name.startswith("CONV"), name)
    )
    policies = [name for name in POLICY_LOOKS if any(one.name == name for one in found if one.what == "iteration")]
    left = add_axes(figure, 1.62, 0.62, 1.75, 2.5)
    _boxes(left, near, kinds)
    left.set_xlabel("(a) kernels of 20 µs and more,\ncarried less measured (%)")
    for place, (own, limit, letter) in enumerate(((near, 10, "b"), (far, 45, "c"))):
        axes = add_axes(figure, 4.22 + 1.42 * place, 0.62, 1.3, 2.5)
        _dots(axes, own, policies, limit)
        axes.set_xlabel(f"({letter}) iterations,\ncarried less measured (%)")
        if place:
            axes.set_yticklabels([])
    for x_in, words in ((1.62, "H200 to H100, and back"), (4.22, "H200 to H100, and back"), (5.64, "Titan X to H200")):
        place_text(figure, x_in, 3.18, words, size=SMALL_SIZE, weight="bold")
    place_text(
        figure,
        0.08,
        0.07,
        "(a) bars: the middle half; lines: nine tenths. Filled: H200 to H100, hollow: back. "
        "Arrows: beyond the axis, where vdnn-dyn decides otherwise.",
        size=SMALL_SIZE,
        color=FAINT,
    )
    return figure


def _boxes(axes: Axes, found: list[Off], kinds: list[str]) -> None:
    for row, kind in enumerate(kinds):
        for side, (source, _) in enumerate(WAYS[:2]):
            errors = [
                100 * one.error for one in found if one.what == "kernel" and (one.name, one.source) == (kind, source)
            ]
            twentieths = quantiles(errors, n=20)
            y = row + (-0.18 if side == 0 else 0.18)
            axes.plot([twentieths[0], twentieths[-1]], [y, y], color=INK, linewidth=0.6)
            low, high = twentieths[4], twentieths[14]
            axes.barh(
                y,
                high - low,
                left=low,
                height=0.26,
                facecolor=PASS_COLOURS["forward"] if side == 0 else "white",
                edgecolor=INK,
                linewidth=0.5,
            )
    _dress(axes, kinds)
    axes.set_xlim(-30, 30)


def _dots(axes: Axes, found: list[Off], policies: list[str], limit: float) -> None:
    for row, policy in enumerate(policies):
        for side, source in enumerate(dict.fromkeys(one.source for one in found)):
            errors = [
                100 * one.error
                for one in found
                if one.what == "iteration" and (one.name, one.source) == (policy, source)
            ]
            look = POLICY_LOOKS[policy]
            y = row + (-0.15 if side == 0 else 0.15)
            face = look.colour if side == 0 else "white"
            style = {"color": look.colour, "markerfacecolor": face, "markersize": 2.8, "markeredgewidth": 0.6}
            inside = [error for error in errors if abs(error) <= limit]
            axes.plot(inside, [y] * len(inside), "o", **style)
            for error in (error for error in errors if abs(error) > limit):
                edge, mark = (limit, ">") if error > 0 else (-limit, "<")
                axes.plot([edge], [y], mark, clip_on=False, **style)
                shift_pt = (-4, 0) if error > 0 else (4, 0)
                write_beside(axes, f"{error:+.0f} %", edge, y, shift_pt=shift_pt, ha="right" if error > 0 else "left")
    _dress(axes, policies)
    axes.set_xlim(-limit, limit)


def _dress(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


if __name__ == "__main__":
    main()
