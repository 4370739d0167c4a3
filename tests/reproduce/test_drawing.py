"""Pictures: marks do not lie on words, and what cannot be seen is said."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vdnnsim.gpu import GpuProfile, load_profile
from vdnnsim.reproduce.bars import BandedBar, Bar
from vdnnsim.reproduce.config import figure_config
from vdnnsim.reproduce.drawing.page import compose
from vdnnsim.trace import Provenance

GPU: GpuProfile = load_profile("titan-x-maxwell")
CASE = "AlexNet (128)"


def banded(series: str, part: str, axis: str, value: float, unit: str) -> BandedBar:
    return BandedBar(CASE, Bar(CASE, series, part, axis, value, unit), value, value, 1, 1.0, Provenance.MODELLED)


def composed(name: str, bars: list[BandedBar]) -> tuple[Figure, FigureCanvasAgg]:
    figure = compose(figure_config(name), bars, GPU, "note")
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
