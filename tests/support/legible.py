"""Whether what a figure says can be read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import combinations
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from vdnnsim.figures.page import DPI


def figure_of(draw: Callable[[], object]) -> Figure:
    """The figure that `draw` would write, drawn in its own style at its own size, without the file."""
    drawn: list[Figure] = []

    def remember(figure: Figure, *_: Any, **__: Any) -> None:
        figure.set_dpi(DPI)
        figure.draw_without_rendering()
        drawn.append(figure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", remember)
        patch.setattr("vdnnsim.figures.saving.whole_file", nullcontext)
        draw()
    [figure] = drawn
    return figure


def texts_of(figure: Figure) -> list[Text]:
    texts = figure.findobj(Text)
    return [text for text in texts if isinstance(text, Text) and text.get_visible() and text.get_text().strip()]


def assert_legible(figure: Figure) -> None:
    """Every text lies within the page, and none upon another. Tick labels beyond an axis' limits are not drawn."""
    figure.set_dpi(DPI)  # as it was drawn
    boxes = []
    for text in texts_of(figure):
        box = text.get_window_extent()
        if box.width and box.height:
            boxes.append((text.get_text(), box))
    page = figure.bbox
    hidden = {label.get_text() for axes in figure.axes for label in _undrawn_tick_labels(axes)}
    shown = [(text, box) for text, box in boxes if text not in hidden]
    for name, box in shown:
        assert page.x0 <= box.x0 and box.x1 <= page.x1, name  # noqa: PT018 - one statement about one box
        assert page.y0 <= box.y0 and box.y1 <= page.y1, name  # noqa: PT018
    for (one, first), (two, second) in combinations(shown, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert across <= 1 or down <= 1, (one, two)


def _undrawn_tick_labels(axes: Any) -> list[Text]:
    labels: list[Text] = []
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim()))):
        labels += [tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high]
    return labels
