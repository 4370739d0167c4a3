"""Figures: files in each format, texts that do not overlap, and what the shades and areas are computed from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure

from tests.support.legible import assert_legible, texts_of
from vdnnsim import comparison_figure, run_figure
from vdnnsim.errors import InvalidInput
from vdnnsim.figures.lanes import Interval, busy_shares
from vdnnsim.figures.page import DPI
from vdnnsim.figures.run import most_per_dot
from vdnnsim.report.levels import Level, memory_levels
from vdnnsim.report.words import byte_unit
from vdnnsim.results import Comparison, PolicyRun

Write = Callable[[Comparison, Path], None]
BEGINNINGS = {".PNG": b"\x89PNG\r\n", ".pdf": b"%PDF-", ".svg": b"<?xml"}


def run_of(comparison: Comparison, policy: str = "vdnn-all(p)") -> PolicyRun:
    return next(run for run in comparison.runs if run.result.policy == policy)


def write_run(comparison: Comparison, path: Path) -> None:
    run_figure(run_of(comparison), comparison, path)


@pytest.fixture(params=[comparison_figure, write_run], ids=["comparison", "run"])
def write(request: pytest.FixtureRequest) -> Write:
    chosen: Write = request.param
    return chosen


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were written, laid out as they would be, without a picture in their files."""
    figures: list[Any] = []

    def remember(figure: Figure, path: Path, **_options: Any) -> None:
        figure.set_dpi(DPI)
        figure.draw_without_rendering()
        path.touch()
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", remember)
    return figures


@pytest.mark.parametrize(
    ("write", "suffix"), [(comparison_figure, suffix) for suffix in BEGINNINGS] + [(write_run, ".PNG")]
)
def test_each_format_is_written(roomy: Comparison, write: Write, suffix: str, tmp_path: Path) -> None:
    """By one of the figures; both reach their files in one place."""
    path = tmp_path / f"figure{suffix}"
    write(roomy, path)
    assert path.read_bytes().startswith(BEGINNINGS[suffix])
    assert b"/Type3" not in path.read_bytes()  # publishers refuse such fonts
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("write", "suffix"), [(comparison_figure, ".png"), (write_run, ".pdf"), (comparison_figure, ".svg")]
)
def test_equal_comparisons_give_equal_bytes(tight: Comparison, write: Write, suffix: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tight, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_subject_and_provenance_travel_in_the_file(roomy: Comparison, write: Write, tmp_path: Path) -> None:
    write(roomy, tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text(encoding="utf-8")
    assert "tiny, batch 1, on test-gpu" in text
    assert "Provenance: modelled" in text


def test_grid_lines_do_not_show_through_what_does_not_train(
    tight: Comparison, tmp_path: Path, drawn: list[Any]
) -> None:
    comparison_figure(tight, tmp_path / "figure.png")
    bars = [patch for patch in drawn[0].axes[0].patches if patch.get_width()]
    assert {bar.get_facecolor()[3] for bar in bars} == {1}
    assert len({bar.get_facecolor() for bar in bars}) > len({result.trainable for result in tight.results})


@pytest.mark.parametrize(("name", "found"), [("figure.jpg", "'.jpg'"), ("figure", "none")])
def test_other_suffixes_are_refused(roomy: Comparison, write: Write, name: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        write(roomy, tmp_path / name)
    assert f"found suffix {found}, expected one of: .png, .pdf, .svg" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file(
    roomy: Comparison, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def half(_figure: Figure, target: Path, **_options: Any) -> None:
        target.write_bytes(b"\x89PNG")
        raise MemoryError

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(MemoryError):
        write(roomy, path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def test_a_folder_that_is_not_there_is_named(roomy: Comparison, write: Write, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nowhere"):
        write(roomy, tmp_path / "nowhere" / "figure.png")


def test_a_whisker_spans_the_range_of_the_iteration_time(ranged: Comparison, roomy: Comparison) -> None:
    _, performance = comparison_figure(ranged)
    ends = [tuple(line.get_xdata()) for line in performance.lines if line.get_linestyle() == "-"]
    best_ns = ranged["oracle"].iteration_time_ns
    expected = [(best_ns / result.band.high_ns, best_ns / result.band.low_ns) for result in ranged if result.band]
    assert ends == [pytest.approx(pair) for pair in expected]
    assert len(ends) == len(ranged)
    assert not comparison_figure(roomy)[1].lines


def test_texts_lie_apart(every: Comparison, write: Write, tmp_path: Path, drawn: list[Any]) -> None:
    write(every, tmp_path / "figure.png")
    assert_legible(drawn[0])


@pytest.mark.parametrize("policy", ["baseline(p)", "vdnn-dyn", "oracle"])
def test_texts_of_other_runs_lie_apart(tight: Comparison, policy: str, tmp_path: Path, drawn: list[Any]) -> None:
    run_figure(run_of(tight, policy), tight, tmp_path / "figure.png")
    assert_legible(drawn[0])


def test_one_policy_or_many_with_long_names(roomy: Comparison, tmp_path: Path, drawn: list[Any]) -> None:
    alone = replace(roomy, network=100 * "n", gpu=100 * "g", runs=roomy.runs[:1])
    run = roomy.runs[1]
    names = [f"a-policy-with-quite-a-long-name-{number}" for number in range(15)]
    many = replace(roomy, runs=tuple(replace(run, result=replace(run.result, policy=name)) for name in names))
    for comparison in (alone, many):
        comparison_figure(comparison, tmp_path / "figure.png")
        assert_legible(drawn.pop())


def test_names_are_shown_as_they_are(roomy: Comparison, tmp_path: Path, drawn: list[Any]) -> None:
    write_run(replace(roomy, network="a_b$x^2$ネット"), tmp_path / "figure.png")
    assert any("a_b$x^2$ネット, batch 1" in text.get_text() for text in texts_of(drawn[0]))
    assert not any(text.get_parse_math() for text in texts_of(drawn[0]))


def test_what_does_not_train_is_starred(tight: Comparison, tmp_path: Path, drawn: list[Any]) -> None:
    comparison_figure(tight, tmp_path / "figure.png")
    texts = [text.get_text() for text in texts_of(drawn[0])]
    assert {"★ baseline(p)", "★ vdnn-all(p)", "vdnn-conv(m)", "vdnn-dyn", "oracle (no limit)"} <= set(texts)
    stars = [f"★ ({result.performance:.2f})" for result in tight if not result.trainable]
    assert sorted(text for text in texts if text.startswith("★ (")) == sorted(stars)
    assert any("★ does not train" in text for text in texts)


def test_bars_add_up_to_the_peak(tight: Comparison, tmp_path: Path, drawn: list[Any]) -> None:
    comparison_figure(tight, tmp_path / "figure.png")
    memory, performance = drawn[0].axes
    ends = [0.0] * len(tight.runs)
    for bar in memory.patches:
        row = round(bar.get_y() + bar.get_height() / 2)
        assert bar.get_x() == pytest.approx(ends[row])
        ends[row] += bar.get_width()
    assert ends == pytest.approx([result.peak_bytes / 1e3 for result in tight])
    assert [bar.get_width() for bar in performance.patches] == [result.performance for result in tight]


def test_an_average_and_the_capacity_are_marked(tight: Comparison, tmp_path: Path, drawn: list[Any]) -> None:
    comparison_figure(tight, tmp_path / "figure.png")
    markers = [line for line in drawn[0].axes[0].lines if line.get_marker() == "D"]
    assert [float(line.get_xdata()[0]) for line in markers] == [result.average_bytes / 1e3 for result in tight]
    [capacity] = [line for line in drawn[0].axes[0].lines if line.get_marker() != "D"]
    assert set(capacity.get_xdata()) == {32.768}


def test_areas_are_stacked_up_to_the_level(roomy: Comparison, tmp_path: Path, drawn: list[Any]) -> None:
    run = run_of(roomy)
    run_figure(run, roomy, tmp_path / "figure.png")
    areas = [collection.get_paths()[0] for collection in drawn[0].axes[1].collections]
    assert len(areas) == len(run.result.bytes_by_class_at_peak)
    for middle_us in (0.5, 6.9, run.result.iteration_time_ns / 1e3 - 0.05):
        levels = memory_levels(run.timeline.memory, tuple(run.result.bytes_by_class_at_peak))
        level = [level for level in levels if level.time_ns <= 1000 * middle_us][-1]
        spans = [_heights_at(area.vertices, middle_us) for area in areas]
        assert [high - low for low, high in spans] == pytest.approx([size / 1e3 for size in level.bytes_by_class])
        assert [low for low, _ in spans[1:]] == pytest.approx([high for _, high in spans[:-1]])
    assert max(area.vertices[:, 1].max() for area in areas) == pytest.approx(run.result.peak_bytes / 1e3)


def _heights_at(outline: Any, x: float) -> tuple[float, float]:
    """The lowest and highest point at which an outline of upright and level lines passes x."""
    crossed = [one[1] for one, two in pairwise(outline) if min(one[0], two[0]) <= x < max(one[0], two[0])]
    return min(crossed), max(crossed)


def test_boxes_are_the_records(roomy: Comparison, tmp_path: Path, drawn: list[Any]) -> None:
    run = run_of(roomy)
    run_figure(run, roomy, tmp_path / "figure.png")
    compute, out, back, stalled = drawn[0].axes[0].collections
    expected = {
        compute: [(kernel.begin_ns, kernel.end_ns) for kernel in run.timeline.kernels],
        out: [(copy.begin_ns, copy.end_ns) for copy in run.timeline.copies if copy.direction == "copy out"],
        back: [(copy.begin_ns, copy.end_ns) for copy in run.timeline.copies if copy.direction == "copy in"],
        # two of 34 ns are too narrow for a box
        stalled: [(stall.begin_ns, stall.end_ns) for stall in run.timeline.stalls if stall.duration_ns > 34],
    }
    for collection, spans_ns in expected.items():
        boxes = [path.vertices[:, 0] for path in collection.get_paths()]
        assert [(box.min(), box.max()) for box in boxes] == [
            pytest.approx((begin_ns / 1e3, end_ns / 1e3)) for begin_ns, end_ns in spans_ns
        ]
    texts = [text.get_text() for text in texts_of(drawn[0])]
    stalled_share = 100 * run.result.stall_ns / run.result.iteration_time_ns
    assert f"{stalled_share:.0f} % of the time" in texts


def test_pyplot_and_the_users_settings_are_left_alone(roomy: Comparison, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    comparison_figure(roomy, tmp_path / "one.png")
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        comparison_figure(roomy, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    program = "import sys, vdnnsim.figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_other_formats_import_no_plotting_library() -> None:
    program = (
        "import sys\n"
        "from vdnnsim.report import chrome_trace, csv_text, json_text, table\n"
        "sys.exit(bool({'matplotlib', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_shares_of_busy_time() -> None:
    # four dots of 100 ns: 50 and 100 busy, then 10 and 30 in pieces
    intervals = [Interval(210, 220), Interval(50, 200), Interval(310, 320), Interval(350, 370)]
    assert busy_shares(intervals, 400, 4).tolist() == pytest.approx([0.5, 1.0, 0.1, 0.3])
    assert busy_shares([Interval(0, 400)], 400, 4).tolist() == [1, 1, 1, 1]


def test_no_peak_is_too_narrow_to_be_drawn() -> None:
    levels = [Level(0, (10, 0)), Level(150, (10, 90)), Level(151, (10, 1)), Level(1050, (5, 0)), Level(1060, (0, 2))]
    assert most_per_dot(levels, 2000, 20) == [
        Level(0, (10, 0)),
        Level(100, (10, 90)),
        Level(200, (10, 1)),
        Level(1100, (0, 2)),
        Level(2000, (0, 2)),
    ]


@pytest.mark.parametrize(
    ("largest_bytes", "unit"), [(28 * 10**9, "GB"), (10**8, "GB"), (99_999_999, "MB"), (10**5, "MB"), (5, "KB")]
)
def test_an_axis_has_the_unit_of_its_largest_value(largest_bytes: int, unit: str) -> None:
    assert byte_unit(largest_bytes) == (unit, {"GB": 10**9, "MB": 10**6, "KB": 10**3}[unit])
