"""Pictures: marks do not lie on words, and what cannot be seen is said."""

from collections.abc import Sequence
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Rectangle

from vdnnsim.figures import POLICY_LOOKS, paled
from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.trace import Provenance
from vdnnsim_paper.bars import BandedBar, Bar, Stated
from vdnnsim_paper.config import figure_config
from vdnnsim_paper.drawing.colours import LIGHT
from vdnnsim_paper.drawing.marks import PAPER, round_step
from vdnnsim_paper.drawing.page import compose, note_of

GPU: GpuProfile = load_profile("titan-x-maxwell")
CASE = "AlexNet (128)"


def banded(series: str, part: str, axis: str, value: float, unit: str, case: str = CASE, group: str = "") -> BandedBar:
    return BandedBar(
        case, Bar(group or case, series, part, axis, value, unit), value, value, 1, 1.0, Provenance.MODELLED
    )


def composed(name: str, bars: list[BandedBar], stated: Sequence[Stated] = ()) -> tuple[Figure, FigureCanvasAgg]:
    figure = compose(figure_config(name), bars, GPU, "note", stated)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return figure, canvas


def test_points_at_zero_keep_clear_of_the_labels_below() -> None:
    bars = [
        banded("vdnn-dyn", "maximum", "left", 0.9, "GB"),
        banded("vdnn-dyn", "average", "left", 0.9, "GB"),
        banded("vdnn-dyn", "average saved", "right", 0.0, "%"),
    ]
    figure, canvas = composed("11", bars)
    left, right = figure.axes
    [label] = left.get_xticklabels()
    points = [line.get_window_extent(canvas.get_renderer()) for line in right.lines if line.get_marker() == "D"]
    assert len(points) == 1
    assert label.get_window_extent().y1 < points[0].y0


def test_a_bar_of_nothing_is_written_as_zero() -> None:
    bars = [
        banded("vdnn-all(p) maximum", "", "left", 4.0, "%"),
        banded("vdnn-all(p) average", "", "left", -17.0, "%"),
        banded("vdnn-dyn maximum", "", "left", 0.0, "%"),
        banded("vdnn-dyn average", "", "left", 0.0, "%"),
    ]
    figure, _ = composed("power", bars)
    [axes] = figure.axes
    assert [text.get_text() for text in axes.texts] == ["0", "0"]
    assert "0: nothing is offloaded" in figure_config("power").file.caption


def stated(axis: str, value: float, unit: str, series: str = "vdnn-dyn", mark: str = "abstract") -> Stated:
    return Stated("11", CASE, CASE, series, axis, value, unit, mark)


def memory_bars(case: str = CASE) -> list[BandedBar]:
    return [
        banded(series, part, axis, value, unit, case)
        for series in ("vdnn-all(m)", "vdnn-dyn", "baseline(m)")
        for part, axis, value, unit in (
            ("maximum", "left", 0.9, "GB"),
            ("average", "left", 0.4, "GB"),
            ("average saved", "right", 80.0, "%"),
        )
    ]


def legend_labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in legends(figure) for text in legend.get_texts()]


def legends(figure: Figure) -> list[Legend]:
    return [artist for artist in figure.artists if isinstance(artist, Legend)]


def paper_lines(figure: Figure) -> list[tuple[str, float]]:
    """The label of the axis and the value of each line in the paper's colour."""
    return [
        (axes.get_ylabel(), float(line.get_ydata()[0]))
        for axes in figure.axes
        for line in axes.lines
        if line.get_color() == PAPER
    ]


def test_the_papers_values_are_drawn_on_their_axes_and_explained() -> None:
    figure, _ = composed("11", memory_bars(), [stated("right", 89, "%")])
    assert paper_lines(figure) == [("average memory saved (%)", 89)]
    assert "89 %" in [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "paper (Titan X)" in legend_labels(figure)

    bars = [banded("vdnn-dyn", "", "left", 0.78, "")]
    figure, _ = composed("14", bars, [stated("left", 0.82, "")])
    assert paper_lines(figure) == [("performance relative to the oracle", 0.82)]


def test_where_the_paper_states_nothing_nothing_is_drawn() -> None:
    figure, _ = composed("11", memory_bars())
    assert not paper_lines(figure)
    assert "paper (Titan X)" not in legend_labels(figure)


def test_the_note_says_how_sure_the_papers_values_are() -> None:
    abstract, told = stated("right", 89, "%"), stated("right", 81, "%", mark="second-hand")._replace(case="VGG-16 (64)")
    config, bars = figure_config("11"), memory_bars()
    assert "Paper: its values on a Titan\N{NO-BREAK SPACE}X, as its abstract states." in note_of(
        config, bars, GPU, [abstract]
    )
    assert "as its abstract states for AlexNet (128), second-hand for VGG-16 (64)." in note_of(
        config, bars, GPU, [abstract, told]
    )
    assert "Paper" not in note_of(config, bars, GPU)


def test_the_number_of_the_paper_lies_on_no_other_text() -> None:
    bars = [banded("baseline", "feature maps", "left", 1.0, "GB"), banded("baseline", "share", "right", 80.0, "%")]
    for value in (76.0, 79.0, 81.0, 84.0):
        figure, canvas = composed("4", bars, [stated("right", value, "%", "baseline")])
        texts = [text.get_window_extent(canvas.get_renderer()) for axes in figure.axes for text in axes.texts]
        assert len(texts) == 3
        assert not any(one.overlaps(other) for one, other in combinations(texts, 2))


def test_maximum_is_the_colour_of_no_policy() -> None:
    figure, _ = composed("11", memory_bars())
    last = legends(figure)[-1]
    shown = {text.get_text(): handle for text, handle in zip(last.get_texts(), last.legend_handles, strict=True)}
    assert {"average", "maximum"} <= set(shown)
    patches = [patch for legend in legends(figure) for patch in legend.findobj(Rectangle)]
    colours = [to_hex(patch.get_facecolor()).upper() for patch in patches]
    assert {paled(POLICY_LOOKS[name].colour, LIGHT).upper() for name in ("vdnn-all(m)", "vdnn-dyn")} <= set(colours)
    assert colours.count(POLICY_LOOKS["baseline(m)"].colour.upper()) == 2  # itself, and as one of the averages


def test_every_panel_labels_both_axes() -> None:
    cases = ("AlexNet (128)", "OverFeat (128)", "GoogLeNet (128)", "VGG-16 (64)")
    figure, _ = composed("11", [bar for case in cases for bar in memory_bars(case)])
    assert [axes.get_ylabel() for axes in figure.axes] == ["memory (GB)", "average memory saved (%)"] * 2


def test_both_axes_share_one_grid() -> None:
    for most in (0.13, 0.9, 3.77, 12.6, 41.4, 69.2, 121):
        bars = [banded("baseline", "allocated", "left", most, "GB"), banded("baseline", "in use", "right", 30.0, "%")]
        figure, _ = composed("1", bars)
        left, right = figure.axes
        places = [[axes.transData.transform((0, tick))[1] for tick in axes.get_yticks()] for axes in (left, right)]
        assert places[0] == pytest.approx(places[1])
        assert left.get_ylim()[1] > 1.3 * most


@pytest.mark.parametrize(
    ("top", "step"), [(0.9, 0.2), (1, 0.2), (4.4, 1), (7.4, 1.5), (47, 10), (51, 15), (1e-12, 2e-10)]
)
def test_steps_are_round(top: float, step: float) -> None:
    assert round_step(top) == pytest.approx(step)


def test_a_panel_has_a_name_only_beside_others() -> None:
    def layers(case: str) -> list[BandedBar]:
        return [banded("forward", "", "left", 3.0, "ms", case, "conv1")]

    [alone] = composed("13", layers("VGG-16 (256)"))[0].axes
    assert alone.get_title(loc="left") == ""
    several = composed("6", layers("VGG-16 (64)") + layers("AlexNet (128)"))[0].axes
    assert [axes.get_title(loc="left") for axes in several] == ["VGG-16 (64)", "AlexNet (128)"]


def test_the_timeline_labels_both_panels_and_says_what_is_what() -> None:
    bars = [
        banded(label, part, "left", value, "ms", group=f"{way} | {lane}")
        for way, kind in (("forward", "FWD"), ("backward", "BWD(dX)"))
        for lane, label in (
            ("baseline(p) | stream_compute", f"{kind} conv1_1"),
            ("vdnn-all(p) | stream_compute", f"{kind} conv1_1"),
            ("vdnn-all(p) | stream_memory", "OFF conv1_1"),
            ("vdnn-all(p) | wasted", "stall conv1_1"),
        )
        for part, value in (("begin", 0.0), ("duration", 12.5))
    ]  # fmt: skip
    figure, _ = composed("9", bars)
    assert [axes.get_xlabel() for axes in figure.axes] == ["time (ms)", "time (ms)"]
    assert legend_labels(figure) == ["forward kernel", "backward kernel", "copy", "the compute stream waits for a copy"]
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert "dX conv1_1" in texts
    assert texts.count("12.5 ms") == 2
