"""Figures of sweeps: the kind that goes with the axes, what they show, and what they refuse."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from support.sweeps import write_spec
from vdnnsim.errors import InvalidInput
from vdnnsim.figures.page import DPI
from vdnnsim.figures.saving import write_figure
from vdnnsim.figures.sweep import plot_sweep
from vdnnsim.figures.sweep.heatmap import draw_heatmap
from vdnnsim.figures.sweep.lines import _marked, draw_lines
from vdnnsim.figures.sweep.pareto import draw_pareto
from vdnnsim.figures.sweep.scales import is_logarithmic
from vdnnsim.figures.sweep.threshold import draw_threshold, least_enough
from vdnnsim.figures.sweep.view import View, best_by
from vdnnsim.sweep.plan import plan_sweep
from vdnnsim.sweep.reading import read_sweep
from vdnnsim.sweep.run import run_sweep

HEAD = 'schema = 1\n[axes]\nnetwork = ["alexnet", "vgg16"]\nbatch = 128\ngpu = "titan-x-maxwell"\n'
LINKS = 'link_bandwidth = { from = "2 GB/s", to = "300 GB/s", count = 8, spacing = "log" }\n'
SCALES = "compute_scale = { from = 0.5, to = 2, count = 5 }\n"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks, all policies, links, speeds and two capacities."""
    folder = tmp_path_factory.mktemp("both")
    run_sweep(
        plan_sweep(write_spec(folder, HEAD + LINKS + SCALES + 'capacity = ["8 GB", "12 GB"]\n')), folder / "out", jobs=1
    )
    return folder / "out"


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    run_sweep(plan_sweep(write_spec(folder, HEAD + LINKS)), folder / "out", jobs=1)
    return folder / "out"


FEW = "policy in ['vdnn-all(p)', 'vdnn-dyn', 'baseline(p)'] and "
"""Panels enough to show all that there is to show."""


def texts(path: Path) -> str:
    """What can be read in an SVG, whose letters are drawn: from the comments that matplotlib puts beside each."""
    svg = path.read_text(encoding="utf-8")
    return "\n".join(line.strip()[5:-4] for line in svg.splitlines() if line.strip().startswith("<!-- "))


def test_one_axis_gives_lines_two_give_a_heat_map(lines: Path, both: Path, tmp_path: Path) -> None:
    plot_sweep(lines, [tmp_path / "lines.svg"])
    read = texts(tmp_path / "lines.svg")
    assert "link bandwidth (GB/s)" in read
    assert "performance (oracle = 1)" in read
    assert "vgg16 (128)" in read
    assert "speed of kernels" not in read
    plot_sweep(both, [tmp_path / "map.svg"], where=FEW + "network == 'vgg16'")
    read = texts(tmp_path / "map.svg")
    assert "speed of kernels (as traced = 1)" in read
    assert "within 5 % of the oracle" in read
    assert "does not fit" in read
    assert "best performance over device memory (8, 12 GB)" in read
    assert "vdnn-dyn" in read


@pytest.mark.parametrize("kind", ["heatmap", "lines", "threshold", "pareto"])
def test_every_kind_in_every_format(both: Path, tmp_path: Path, kind: str) -> None:
    formats = ("png", "pdf", "svg") if kind == "lines" else ("svg",)  # they differ in the same way for every kind
    out = [tmp_path / f"figure.{suffix}" for suffix in formats]
    marks = ["12.8 GB/s"] if kind in ("lines", "threshold") else []
    asked = FEW + "network == 'alexnet' and capacity == '12 GB'"
    plot_sweep(both, out, kind=kind, where=asked, marks=marks)
    first = [path.read_bytes() for path in out]
    starts = {"png": b"\x89PNG\r", "pdf": b"%PDF-", "svg": b"<?xml"}
    assert [data[:5] for data in first] == [starts[suffix] for suffix in formats]
    plot_sweep(both, out, kind=kind, where=asked, marks=marks)
    assert [path.read_bytes() for path in out] == first


def test_a_pareto_front_marks_its_knee(both: Path, tmp_path: Path) -> None:
    plot_sweep(both, [tmp_path / "front.svg"], kind="pareto", where="network == 'alexnet'")
    assert "knee: " in texts(tmp_path / "front.svg")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "pie"}, "expected one of: heatmap, lines, threshold, column, pareto"),
        ({"x": "batch"}, "an axis with one value"),
        ({"x": "colour"}, "no axis"),
        ({"kind": "heatmap"}, "needs 2 axes of numbers"),
        ({"where": "network == 'vgg19'"}, "no points that ran"),
        ({"where": "link_bandwidth >"}, "--where: found"),
        ({"marks": ["12 GB"]}, "--mark: found '12 GB'"),
        (
            {"y": "link_bandwidth"},
            "for a lines figure, which shows none; leave it out, or --kind heatmap",
        ),
        ({"column": "energy"}, "unknown column 'energy'; did you mean 'energy_j'?"),
        ({"column": "verdict"}, "unknown column 'verdict'"),
        ({"column": "provenance"}, "--column: found provenance, which has no numbers"),
        ({"column": "energy_j", "kind": "lines"}, "--column: found it for a lines figure"),
        ({"column": "energy_j", "x": "gpu"}, "found gpu, an axis with one value; expected one of: network, policy"),
        ({"column": "energy_j", "loss": 0.05}, "--loss: found it for a column figure"),
        ({"column": "link_latency_ns"}, "found nothing in link_latency_ns of these points"),
        ({"kind": "column"}, "--column: found none"),
        ({"kind": "pareto", "x": "link_bandwidth"}, "--x: found it for a pareto figure"),
        ({"kind": "pareto", "y": "link_bandwidth"}, "--y: found it for a pareto figure"),
        ({"kind": "pareto", "loss": 0.05}, "--loss: found it for a pareto figure"),
        ({"kind": "pareto", "marks": ["1GB/s"]}, "leave it out, or --kind lines or threshold"),
    ],
)
def test_what_cannot_be_drawn_is_told(lines: Path, tmp_path: Path, asked: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        plot_sweep(lines, [tmp_path / "figure.png"], **asked)  # type: ignore[arg-type]
    assert words in str(error.value)
    assert not (tmp_path / "figure.png").exists()


def test_what_a_heat_map_cannot_show_is_told(both: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--mark: found it for a heatmap figure"):
        plot_sweep(both, [tmp_path / "figure.png"], where="network == 'vgg16'", marks=["12 GB/s"])
    with pytest.raises(InvalidInput, match="--x and --y: found capacity for both, expected two of this"):
        plot_sweep(both, [tmp_path / "figure.png"], where="network == 'vgg16'", x="capacity", y="capacity")


def test_one_axis_of_a_heat_map_may_be_chosen(both: Path, tmp_path: Path) -> None:
    plot_sweep(both, [tmp_path / "map.svg"], where=FEW + "network == 'vgg16'", y="link_bandwidth")
    up, across = (texts(tmp_path / "map.svg").find(words) for words in ("link bandwidth (GB", "speed of kernels (as"))
    assert across < up  # the first panel's labels along come before its label up


def test_many_panels_ask_for_a_choice(both: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="choose some with --where"):
        plot_sweep(both, [tmp_path / "figure.png"])


def test_the_best_of_what_is_not_shown_fits_if_anything_does(both: Path) -> None:
    rows = View(both, "network == 'vgg16' and policy == 'vdnn-dyn'").frame
    best = best_by(rows, ["link_bandwidth", "compute_scale"])
    assert len(best) == 40
    assert best["trainable"].all()
    fits = rows[rows["trainable"].astype(bool)]
    closest = fits.groupby(["link_bandwidth", "compute_scale"])["performance"].max()
    assert list(best["performance"]) == list(closest)


def test_the_best_over_speeds_is_the_closest_to_the_oracle_and_not_the_fastest(both: Path) -> None:
    """The oracle is faster with faster kernels too, so that the least time is not the best performance."""
    rows = View(both, "network == 'vgg16' and policy == 'vdnn-all(p)' and capacity == '12 GB'").frame
    best = best_by(rows, ["link_bandwidth"])
    over = rows.groupby("link_bandwidth")
    assert list(best["performance"]) == list(over["performance"].max())
    fastest = rows.loc[over["iteration_time_ns"].idxmin()]
    assert (best["performance"].to_numpy() > fastest["performance"].to_numpy() + 0.05).any()


def test_the_footer_says_what_was_chosen_over(both: Path) -> None:
    view = View(both, "network == 'vgg16'")
    footer = view.footer(["link_bandwidth"])
    assert "best performance over device memory (8, 12 GB), speed of kernels (0.5 to 2, as traced = 1)" in footer
    assert "against the oracle with the same kernels" in footer
    assert "best" not in view.footer(["link_bandwidth", "compute_scale", "capacity"])


def test_a_front_of_several_speeds_says_so(both: Path, tmp_path: Path) -> None:
    plot_sweep(both, [tmp_path / "front.svg"], kind="pareto", where="network == 'alexnet'")
    assert "kernels of several speeds (0.5 to 2, as traced = 1) are mixed" in " ".join(
        texts(tmp_path / "front.svg").split()
    )
    plot_sweep(both, [tmp_path / "one.svg"], kind="pareto", where="network == 'alexnet' and compute_scale == 0.5")
    assert "are mixed" not in " ".join(texts(tmp_path / "one.svg").split())


def test_a_threshold_is_where_it_is_enough_from_there_on() -> None:
    rows = pd.DataFrame(
        {
            "x": [1, 2, 3, 4, 5],
            "trainable": [True, True, False, True, True],
            "performance": [0.99, 0.99, 0.99, 0.96, 0.97],
            "iteration_time_ns": [1, 1, 1, 1, 1],
        }
    )
    assert least_enough(rows, "x", 0.05) == 4
    assert least_enough(rows, "x", 0.03) == 5
    assert least_enough(rows, "x", 0.01) == float("inf")
    assert least_enough(rows.assign(trainable=False), "x", 0.05) is None
    assert least_enough(rows.assign(trainable=True), "x", 0.05) == 1


def test_spacing_is_seen() -> None:
    assert is_logarithmic([1, 2, 4, 8, 16])
    assert is_logarithmic([1, 3.16, 10, 31.6, 100])
    assert not is_logarithmic([1, 2, 3, 4, 5])
    assert not is_logarithmic([1, 2])
    assert not is_logarithmic([0.5, 1, 1.5, 2])


def swept(folder: Path, text: str) -> Path:
    run_sweep(plan_sweep(write_spec(folder, text)), folder / "out", jobs=1)
    return folder / "out"


def border(figure: Figure) -> list[int]:
    """How many pieces the line round what is within the loss has, panel by panel."""
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    return [
        sum(len(lines.get_segments()) for lines in axes.collections if isinstance(lines, LineCollection))
        for axes in panels
    ]


ALEXNET = 'schema = 1\n[axes]\nnetwork = "alexnet"\nbatch = 128\ngpu = "titan-x-maxwell"\n'
HOLED = """
policy = ["oracle", "baseline(p)"]
capacity = { from = "1 GB", to = "8 GB", step = "1 GB" }
link_bandwidth = { from = "100 GB/s", to = "600 GB/s", step = "100 GB/s" }
"""
"""Links behind the device memory of 336 GB/s fail; the baseline does not fit in 1 GB."""


def test_points_that_are_not_there_look_otherwise_than_what_does_not_fit(tmp_path: Path) -> None:
    out = swept(tmp_path, "filters = [\"capacity < '6 GB' or link_bandwidth != '200 GB/s'\"]\n" + ALEXNET + HOLED)
    plot_sweep(out, [tmp_path / "map.svg"], kind="heatmap")
    read = " ".join(texts(tmp_path / "map.svg").split())
    assert "no point" in read
    assert "does not fit" in read
    assert "90 of 90 points done, 48 failed" in read
    view = View(out, None)
    assert border(draw_heatmap(view, "", "link_bandwidth", "capacity", 0.05)) == [0, 6]
    view = View(out, "link_bandwidth == '100 GB/s' or link_bandwidth == '300 GB/s'")
    plot_sweep(
        out, [tmp_path / "map.svg"], kind="heatmap", where="link_bandwidth < '200 GB/s' or link_bandwidth == '300 GB/s'"
    )
    assert "no point" not in " ".join(texts(tmp_path / "map.svg").split())


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last of its parts is not there."""
    spec = ALEXNET + LINKS + SCALES + 'policy = ["vdnn-all(p)", "vdnn-dyn"]\n'
    out = swept(tmp_path_factory.mktemp("unfinished"), spec)
    assert "points done" not in View(out, None).footer([])
    sorted((out / "points").glob("part-*"))[-1].unlink()
    return out


@pytest.mark.parametrize("kind", ["heatmap", "lines", "threshold", "pareto"])
def test_a_figure_of_an_unfinished_sweep_says_how_far_it_is(unfinished: Path, tmp_path: Path, kind: str) -> None:
    plot_sweep(unfinished, [tmp_path / "figure.svg"], kind=kind)
    assert "64 of 80 points done" in " ".join(texts(tmp_path / "figure.svg").split())


EMPTY_PANEL = """
filters = ["network == 'alexnet' or policy == 'vdnn-dyn'"]
schema = 1
[axes]
network = ["alexnet", "googlenet"]
batch = 128
gpu = "titan-x-maxwell"
policy = ["vdnn-all(p)", "vdnn-dyn"]
capacity = { from = "2 GB", to = "12 GB", step = "2 GB" }
link_bandwidth = { from = "10 GB/s", to = "60 GB/s", step = "10 GB/s" }
"""


@pytest.fixture(scope="module")
def empty_panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swept(tmp_path_factory.mktemp("empty"), EMPTY_PANEL)


@pytest.mark.parametrize("kind", ["heatmap", "lines", "threshold", "pareto"])
def test_a_panel_without_points_says_so(empty_panel: Path, tmp_path: Path, kind: str) -> None:
    plot_sweep(empty_panel, [tmp_path / "figure.svg"], kind=kind)
    if kind in ("heatmap", "threshold"):
        assert "no points" in texts(tmp_path / "figure.svg")


def test_panels_share_the_limits_of_all_rows(tmp_path: Path) -> None:
    """One network has half of the links, the other half of the memories."""
    spec = EMPTY_PANEL.replace(
        "network == 'alexnet' or policy == 'vdnn-dyn'",
        "network == 'alexnet' and link_bandwidth > '30 GB/s' or network == 'googlenet' and capacity < '8 GB'",
    )
    view = View(swept(tmp_path, spec), None)
    panels = [
        axes
        for axes in draw_heatmap(view, "", "link_bandwidth", "capacity", 0.05).axes
        if axes.get_xlabel().startswith("link")
    ]
    assert len(panels) == 4
    assert {axes.get_xlim() for axes in panels} == {(5.0, 65.0)}
    assert {axes.get_ylim() for axes in panels} == {(1.0, 13.0)}
    lines = [axes for axes in draw_lines(view, "", "link_bandwidth", 0.05).axes if axes.get_xlabel()]
    low, high = lines[0].get_xlim()
    assert {axes.get_xlim() for axes in lines} == {(low, high)}
    assert low < 10 < 60 < high


def test_a_network_of_which_every_point_failed_keeps_its_panel(tmp_path: Path) -> None:
    out = swept(tmp_path, HEAD + 'policy = "vdnn-dyn"\nlink_bandwidth = ["500 GB/s", "12 GB/s"]\n')
    rows = View(out, "network == 'vgg16' or link_bandwidth > '100 GB/s'").panels(["link_bandwidth"])
    assert [(text, len(own)) for text, own in rows] == [("alexnet (128)", 0), ("vgg16 (128)", 1)]
    plot_sweep(
        out,
        [tmp_path / "lines.svg"],
        kind="lines",
        x="link_bandwidth",
        where="network == 'vgg16' or link_bandwidth > '100 GB/s'",
    )
    assert "no points" in texts(tmp_path / "lines.svg")


def boxes(figure: Figure) -> dict[str, Bbox]:
    """Where every text stands that is not a tick's label."""
    ticks = {id(text) for axes in figure.axes for text in (*axes.get_xticklabels(), *axes.get_yticklabels())}
    found = [text for text in figure.findobj(Text) if id(text) not in ticks and text.get_text().strip()]
    return {f"{number} {text.get_text()}": text.get_window_extent() for number, text in enumerate(found)}


@pytest.mark.parametrize("kind", ["heatmap", "lines", "threshold", "pareto", "slow pareto"])
def test_nothing_is_cut_off_and_no_words_run_into_others(both: Path, kind: str) -> None:
    view = View(both, "policy != 'vdnn-all(m)' and policy != 'vdnn-conv(m)' and policy != 'baseline(m)'")
    if kind == "heatmap":
        view = View(both, "policy in ['vdnn-all(p)', 'vdnn-conv(p)', 'vdnn-dyn', 'baseline(p)']")
    if kind == "slow pareto":
        view.rows["iteration_time_ns"] *= 40  # ticks of five digits
    draw = {
        "heatmap": lambda: draw_heatmap(view, "A title", "link_bandwidth", "compute_scale", 0.05),
        "lines": lambda: draw_lines(view, "A title", "link_bandwidth", 0.05),
        "threshold": lambda: draw_threshold(view, "A title", "link_bandwidth", 0.05),
        "pareto": lambda: draw_pareto(view, "A title"),
    }[kind.removeprefix("slow ")]
    figures: list[Figure] = []

    def kept() -> Figure:
        figures.append(draw())
        figures[0].set_dpi(DPI)  # letters are not equally wide at every resolution
        figures[0].draw_without_rendering()
        return figures[0]

    write_figure([], "", "", kept)
    page = figures[0].bbox
    found = boxes(figures[0])
    for text, box in found.items():
        assert page.x0 <= box.x0, text
        assert box.x1 <= page.x1, text
        assert page.y0 <= box.y0, text
        assert box.y1 <= page.y1, text
    for (text, box), (other, beside) in combinations(found.items(), 2):
        assert not (box.x0 < beside.x1 and beside.x0 < box.x1 and box.y0 + 1 < beside.y1 and beside.y0 + 1 < box.y1), (
            f"{text!r} runs into {other!r}"
        )


@pytest.mark.parametrize("kind", ["heatmap", "pareto"])
def test_a_figure_of_one_network_names_it(both: Path, tmp_path: Path, kind: str) -> None:
    plot_sweep(both, [tmp_path / "map.svg"], kind=kind, where=FEW + "network == 'vgg16'")
    assert "vgg16 (128) on titan-x-maxwell" in " ".join(texts(tmp_path / "map.svg").split())
    if kind == "pareto":  # which shows every point; "best" would be untrue in the file's description too
        assert "best performance" not in (tmp_path / "map.svg").read_text(encoding="utf-8")
        plot_sweep(both, [tmp_path / "both.svg"], kind=kind, where=FEW + "compute_scale > 0.1")
        assert " on titan-x" not in (tmp_path / "both.svg").read_text(encoding="utf-8")


def test_a_threshold_says_that_it_leaves_out_what_copies_nothing(both: Path, lines: Path, tmp_path: Path) -> None:
    plot_sweep(both, [tmp_path / "all.svg"], kind="threshold", x="link_bandwidth")
    said = "not shown, as they copy nothing: baseline(m), baseline(p), oracle"
    assert said in " ".join(texts(tmp_path / "all.svg").split())
    sizes = 'policy = ["oracle", "baseline(p)", "vdnn-dyn"]\ncapacity = ["1 GB", "2 GB", "4 GB"]\n'
    plot_sweep(swept(tmp_path, ALEXNET + sizes), [tmp_path / "size.svg"], kind="threshold")
    assert "copy nothing: oracle" not in texts(tmp_path / "size.svg")
    assert "baseline(p)" in texts(tmp_path / "size.svg").split("\n")
    plot_sweep(lines, [tmp_path / "own.svg"], kind="threshold", where="policy == 'vdnn-dyn'")
    assert "copy nothing" not in " ".join(texts(tmp_path / "own.svg").split())


def test_the_knees_words_stand_above_all_points(both: Path) -> None:
    for where in ("network == 'alexnet'", "network == 'alexnet' and compute_scale == 2"):
        figure = draw_pareto(View(both, where), "")
        figure.draw_without_rendering()
        axes = figure.axes[0]
        (knee,) = (text for text in axes.texts if text.get_text().startswith("knee"))
        highest = max(axes.transData.transform((0, max(line.get_ydata())))[1] for line in axes.lines)
        assert knee.get_window_extent().y0 > highest


def one_figure(folder: Path, kind: str, where: str | None = None) -> Figure:
    draw = {"lines": draw_lines, "threshold": draw_threshold}[kind]
    return draw(View(folder, where), "", "link_bandwidth", 0.05)


def test_a_line_breaks_at_a_point_that_failed(tmp_path: Path) -> None:
    """A policy that raises behind one link only."""
    module = tmp_path / "fails_behind_one_link.py"
    module.write_text(
        "from vdnnsim.errors import InvalidInput\nfrom vdnnsim.policies import make_policy\n\n\nclass Mine:\n"
        "    name = 'mine'\n\n    def check(self, problem):\n        pass\n\n    def plan(self, problem):\n"
        "        if 7e9 < problem.gpu.link.copy_out.bandwidth_bytes_per_s < 9e9:\n"
        "            raise InvalidInput('no')\n"
        "        return make_policy('vdnn-all(p)').plan(problem)\n",
        encoding="utf-8",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        links = 'link_bandwidth = ["2 GB/s", "4 GB/s", "8 GB/s", "16 GB/s"]\n'
        text = ALEXNET + 'policy = ["oracle", "fails_behind_one_link:Mine"]\n' + links
        figure = one_figure(swept(tmp_path, text), "lines")
    axes = figure.axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 4]  # type: ignore[arg-type]
    breaks = [[bool(gap) for gap in np.isnan(np.asarray(line.get_ydata(), dtype=float))] for line in lines]
    assert breaks == [[False] * 4, [False, False, True, False]]
    assert 3 in lines[1].get_markevery()  # type: ignore[operator]


def test_lines_look_as_in_the_legend(lines: Path) -> None:
    """Colour, dashes, markers, their size and face; also where there are too many points to mark each."""
    figure = one_figure(lines, "lines")
    keys = {str(line.get_label()): line for line in figure.legends[0].get_lines()}

    def look(line: Line2D) -> tuple[object, ...]:
        marker = (line.get_marker(), line.get_markersize(), line.get_markerfacecolor())
        return line.get_color(), line.get_linewidth(), line._dash_pattern, marker  # type: ignore[attr-defined]

    drawn = [look(line) for line in figure.axes[0].lines if len(line.get_xdata()) > 2]  # type: ignore[arg-type]
    assert drawn == [look(line) for line in keys.values()]
    assert _marked(np.ones(100)) == list(range(0, 100, 9))
    assert _marked(np.array([1.0, np.nan] * 20))[:4] == [0, 2, 4, 6]


def test_a_legend_lists_what_does_not_fit_only_where_something_does_not(both: Path) -> None:
    def legend(where: str) -> list[str]:
        return [text.get_text() for text in one_figure(both, "threshold", where).legends[0].get_texts()]

    assert "does not fit" not in legend("network == 'alexnet'")
    assert "does not fit" in legend("network == 'vgg16' and policy == 'baseline(p)' and capacity == '8 GB'")


def test_any_column_is_drawn_over_any_axis(lines: Path) -> None:
    """Over numbers as lines, a point where nothing fits as a cross; over names side by side, in their order."""
    frame = read_sweep(lines)
    alexnet, vgg16 = plot_sweep(lines, column="energy_j")
    assert (alexnet.get_ylabel(), alexnet.get_xlabel()) == ("energy (J)", "link bandwidth (GB/s)")
    drawn = [line for line in alexnet.get_lines() if line.get_linestyle() != "None"]
    rows = frame[(frame.network == "alexnet") & (frame.policy == "baseline(m)")]
    assert list(drawn[0].get_ydata()) == list(rows.energy_j)
    unfit = frame[(frame.network == "vgg16") & ~frame.trainable & (frame.status == "ok")]
    assert sum(len(line.get_ydata()) for line in vgg16.get_lines() if line.get_marker() == "x") == len(unfit) > 0
    [axes] = plot_sweep(lines, column="needed_bytes", x="policy", where="network == 'vgg16'")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(dict.fromkeys(frame.policy))
    [all_networks] = plot_sweep(lines, column="iteration_time_ns", x="network", where="policy == 'vdnn-dyn'")
    best = frame[frame.policy == "vdnn-dyn"].sort_values("performance").drop_duplicates("network", keep="last")
    shown = all_networks.get_lines()[0]
    times_ns = best.set_index("network").iteration_time_ns
    assert list(shown.get_ydata()) == [times_ns[name] / 1e6 for name in ("alexnet", "vgg16")]
