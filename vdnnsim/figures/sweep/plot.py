"""Which figure of a sweep, and over which axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.figures.saving import write_figure
from vdnnsim.figures.sweep.column import axis_of, column_of, draw_column
from vdnnsim.figures.sweep.heatmap import draw_heatmap
from vdnnsim.figures.sweep.lines import draw_lines
from vdnnsim.figures.sweep.pareto import draw_pareto
from vdnnsim.figures.sweep.scales import SCALES
from vdnnsim.figures.sweep.threshold import draw_threshold
from vdnnsim.figures.sweep.view import View
from vdnnsim.sweep.axes import AXES
from vdnnsim.sweep.columns import COLUMNS, Column
from vdnnsim.sweep.store import Store

_ENOUGH = 4
"""Values that an axis needs before a heat map over it says more than lines."""


class Choice(NamedTuple):
    """The axes of a figure, the loss against the oracle that it shows, values of the first axis to mark, in words and
    in the axis's unit, and the column that is drawn."""

    x: str
    y: str
    loss: float
    marks: tuple[tuple[str, float], ...] = ()
    column: Column | None = None


_Draw = Callable[[View, str, Choice], Figure]


class _Kind(NamedTuple):
    """A kind of figure: how it is drawn, over how many axes, and whether it shows a loss and marks."""

    draw: _Draw
    axes: int
    loss: bool = True
    marks: bool = True


def _column(view: View, title: str, choice: Choice) -> Figure:
    assert choice.column is not None  # asked for, else it is refused
    return draw_column(view, title, choice.x, choice.column)


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "heatmap": _Kind(lambda v, title, c: draw_heatmap(v, title, c.x, c.y, c.loss), 2, marks=False),
        "lines": _Kind(lambda v, title, c: draw_lines(v, title, c.x, c.loss, c.marks), 1),
        "threshold": _Kind(lambda v, title, c: draw_threshold(v, title, c.x, c.loss, c.marks), 1),
        "column": _Kind(_column, 1, loss=False, marks=False),
        "pareto": _Kind(lambda v, title, _: draw_pareto(v, title), 0, loss=False, marks=False),
    }
)
KINDS = tuple(_KINDS)
_LOSS = 0.05
"""The loss that figures show where none is asked for."""


def plot_sweep(
    folder: Path | str,
    paths: Path | str | Sequence[Path | str] = (),
    *,
    kind: str | None = None,
    column: str | None = None,
    x: str | None = None,
    y: str | None = None,
    where: str | None = None,
    loss: float | None = None,
    marks: Sequence[str] = (),
) -> tuple[Axes, ...]:
    """Draw the rows in a sweep's folder: a heat map over two axes with many values, lines over one, else a Pareto front
    of time against memory; or the kind that is asked for; or a column of numbers over any axis. Raises `InvalidInput`
    for kinds, columns and axes that do not go with the rows, and for what the kind does not show.

    Returns the figure's axes. It is written to each path, whose suffix says the format.
    """
    folder = Path(folder)
    out = [Path(path) for path in ([paths] if isinstance(paths, Path | str) else paths)]
    if kind is not None and kind not in KINDS:
        raise InvalidInput(f"--kind: found '{kind}', expected one of: {', '.join(KINDS)}")
    drawn = _drawn(column, kind)
    view = View(folder, where, column)
    if drawn and view.frame[axis_of(drawn)].isna().all():
        raise InvalidInput(f"--column: found nothing in {drawn.name} of these points: {drawn.meaning}")
    name = "column" if drawn else kind or _kind(view)
    kind_of = _KINDS[name]
    asked = {"--x": x, "--y": y, "--loss": loss, "--mark": marks or None}
    _refuse_unused(name, [option for option, value in asked.items() if value is not None])
    axes = _axes(view, name, x, y)
    marked = tuple((text, float(AXES[axes[0]].parse(text, "--mark"))) for text in marks)
    across, up = (*axes, "", "")[:2]
    choice = Choice(across, up, _LOSS if loss is None else loss, marked, drawn)
    title = Store(folder).manifest().title
    footer = view.footer(axes, best=kind_of.axes > 0)
    return write_figure(out, title or name, footer, lambda: kind_of.draw(view, title, choice))


def _drawn(name: str | None, kind: str | None) -> Column | None:
    """The column that is asked for. Raises `InvalidInput` for one that has no numbers, and where another kind is."""
    if name is None:
        if kind == "column":
            raise InvalidInput("--column: found none, expected the column that is drawn; docs/sweeps.md has them")
        return None
    if kind not in (None, "column"):
        raise InvalidInput(f"--column: found it for a {kind} figure, which shows none; leave out --kind")
    column = column_of(name)
    numbers = [own.name for own in COLUMNS if own.kind in ("int", "float")]
    if column is None:
        raise UnknownName("column", name, numbers)
    if column.name not in numbers:
        raise InvalidInput(f"--column: found {name}, which has no numbers; expected one such as energy_j")
    return column


def _refuse_unused(kind: str, asked: Sequence[str]) -> None:
    def uses(kind: _Kind) -> dict[str, bool]:
        return {"--x": kind.axes > 0, "--y": kind.axes > 1, "--loss": kind.loss, "--mark": kind.marks}

    for option in asked:
        if not uses(_KINDS[kind])[option]:
            others = " or ".join(name for name in KINDS if uses(_KINDS[name])[option])
            raise InvalidInput(
                f"{option}: found it for a {kind} figure, which shows none; leave it out, or --kind {others}"
            )


def _kind(view: View) -> str:
    many = [name for name in view.numeric() if view.frame[name].nunique() >= _ENOUGH]
    return "heatmap" if len(many) >= 2 else "lines" if view.numeric() else "pareto"


def _axes(view: View, kind: str, x: str | None, y: str | None) -> list[str]:
    """The axes of a figure: those asked for, and the longest of the others."""
    if kind == "column":
        return [_any_axis(view, x)]
    wanted = _KINDS[kind].axes
    can = ", ".join(view.numeric()) or "none"
    for name in (x, y):
        if name is not None and (name not in view.varied or name not in SCALES):
            what = "an axis with one value" if name in AXES else "no axis"
            raise InvalidInput(f"plot: found {name}, {what} or names; expected one of this sweep's numbers: {can}")
    if x is not None and x == y:
        raise InvalidInput(f"--x and --y: found {x} for both, expected two of this sweep's numbers: {can}")
    others = iter([name for name in view.numeric() if name not in (x, y)])
    axes = [name for name in (x or next(others, None), y or next(others, None)) if name is not None][:wanted]
    if len(axes) < wanted:
        raise InvalidInput(f"plot: a {kind} needs {wanted} axes of numbers with two values or more, this has: {can}")
    return axes


def _any_axis(view: View, x: str | None) -> str:
    """The axis that is asked for, of numbers or of names, or else the longest one of numbers, or any."""
    if x is None:
        names = [name for name in view.varied if name != "policy"]
        return next(iter([*view.numeric(), *names, "policy"]))
    if x not in view.varied:
        what = "an axis with one value" if x in AXES else "no axis"
        raise InvalidInput(f"plot: found {x}, {what}; expected one of: {', '.join(view.varied) or 'none'}")
    return x
