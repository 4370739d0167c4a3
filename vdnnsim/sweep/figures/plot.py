"""Which figure of a sweep, and over which axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from matplotlib.figure import Figure

from vdnnsim.errors import InvalidInput
from vdnnsim.report.figure.style import write_figure
from vdnnsim.sweep.axes import AXES
from vdnnsim.sweep.figures.heatmap import draw_heatmap
from vdnnsim.sweep.figures.lines import draw_lines
from vdnnsim.sweep.figures.pareto import draw_pareto
from vdnnsim.sweep.figures.scales import SCALES
from vdnnsim.sweep.figures.threshold import draw_threshold
from vdnnsim.sweep.figures.view import View
from vdnnsim.sweep.store import Store

_ENOUGH = 4
"""Values that an axis needs before a heat map over it says more than lines."""


class Choice(NamedTuple):
    """The axes of a figure, the loss against the oracle that it shows, and values of the first axis to mark, in words
    and in the axis's unit."""

    x: str
    y: str
    loss: float
    marks: tuple[tuple[str, float], ...] = ()


_Draw = Callable[[View, str, Choice], Figure]
_DRAW: Mapping[str, tuple[_Draw, int]] = MappingProxyType(
    {
        "heatmap": (lambda view, title, choice: draw_heatmap(view, title, choice.x, choice.y, choice.loss), 2),
        "lines": (lambda view, title, choice: draw_lines(view, title, choice.x, choice.loss, choice.marks), 1),
        "threshold": (lambda view, title, choice: draw_threshold(view, title, choice.x, choice.loss, choice.marks), 1),
        "pareto": (lambda view, title, _: draw_pareto(view, title), 0),
    }
)
KINDS = tuple(_DRAW)


def plot_sweep(
    folder: Path,
    out: Sequence[Path],
    *,
    kind: str | None = None,
    x: str | None = None,
    y: str | None = None,
    where: str | None = None,
    loss: float = 0.05,
    marks: Sequence[str] = (),
) -> None:
    """Draw a sweep's rows: a heat map over two axes with many values, lines over one, else a Pareto front of time
    against memory; or the kind that is asked for. Raises `InvalidInput` for kinds and axes that do not go with the
    rows."""
    if kind is not None and kind not in KINDS:
        raise InvalidInput(f"--kind: found '{kind}', expected one of: {', '.join(KINDS)}")
    view = View(folder, where)
    kind = kind or _kind(view)
    draw, wanted = _DRAW[kind]
    axes = _axes(view, kind, wanted, [name for name in (x, y) if name is not None])
    marked = tuple((text, float(AXES[axes[0]].parse(text, "--mark"))) for text in marks) if axes else ()
    across, up = (*axes, "", "")[:2]
    choice = Choice(across, up, loss, marked)
    title = Store(folder).manifest().title
    write_figure(out, title or kind, view.footer(axes, best=wanted > 0), lambda: draw(view, title, choice))


def _kind(view: View) -> str:
    many = [name for name in view.numeric() if view.frame[name].nunique() >= _ENOUGH]
    return "heatmap" if len(many) >= 2 else "lines" if view.numeric() else "pareto"


def _axes(view: View, kind: str, wanted: int, asked: list[str]) -> list[str]:
    for name in asked:
        if name not in view.varied or name not in SCALES:
            can = ", ".join(view.numeric()) or "none"
            what = "an axis with one value" if name in AXES else "no axis"
            raise InvalidInput(f"plot: found {name}, {what} or names; expected one of this sweep's numbers: {can}")
    axes = [*asked, *(name for name in view.numeric() if name not in asked)][:wanted]
    if len(axes) < wanted:
        can = ", ".join(view.numeric()) or "none"
        raise InvalidInput(f"plot: a {kind} needs {wanted} axes of numbers with two values or more, this has: {can}")
    return axes
