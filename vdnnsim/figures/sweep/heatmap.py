"""Performance over two axes, as colour; a panel for each policy (or network and batch where there is one policy)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from vdnnsim.errors import InvalidInput
from vdnnsim.figures.looks import HATCH, INK, SHADE
from vdnnsim.figures.page import SMALL_SIZE, add_axes
from vdnnsim.figures.sweep.panels import number_axis, panel_grid, say_empty
from vdnnsim.figures.sweep.scales import SCALES, is_logarithmic
from vdnnsim.figures.sweep.view import View, best_by

_COLOURS = "cividis"


class _Cells(NamedTuple):
    """The values of an axis in every panel, and the borders between them."""

    centres: np.ndarray
    borders: np.ndarray
    logarithmic: bool

    @classmethod
    def of(cls, view: View, name: str) -> _Cells:
        centres = view.places(name)
        logarithmic = is_logarithmic(list(centres))
        return cls(centres, _borders(centres, logarithmic), logarithmic)


def draw_heatmap(view: View, title: str, x: str, y: str, loss: float) -> Figure:
    """Cells in which the policy does not fit are hatched; those without a point that ran are blank; a line goes round
    those within the loss of the oracle, except where it would meet blank ones."""
    panels = _panels(view, x, y)
    across, up = _Cells.of(view, x), _Cells.of(view, y)
    tables = [_table(rows, x, y, across, up) for _, rows in panels]
    keys: list[Any] = [Line2D([], [], color="white", linewidth=1.2, label=f"within {100 * loss:g} % of the oracle")]
    keys[0].set_path_effects(_outlined())
    if any((table.there & ~table.fits).any() for table in tables):
        keys.append(Patch(facecolor=SHADE, edgecolor=HATCH, hatch="/////", label="does not fit"))
    if not all(table.there.all() for table in tables):
        keys.append(Patch(facecolor="white", edgecolor=HATCH, label="no point"))
    figure, all_axes = panel_grid(title, [text for text, _ in panels], view.footer([x, y]), keys, right_in=0.62)
    for axes, table in zip(all_axes, tables, strict=True):
        mesh = _draw(axes, table, across, up, loss)
        axes.set_xlabel(SCALES[x].label)
    all_axes[0].set_ylabel(SCALES[y].label)
    width, height = figure.get_size_inches()
    place = all_axes[0].get_position()
    bar = add_axes(figure, width - 0.5, place.y0 * height, 0.1, place.height * height)
    figure.colorbar(mesh, cax=bar)
    bar.set_ylabel("performance (oracle = 1)", fontsize=SMALL_SIZE, labelpad=2)
    bar.tick_params(labelsize=SMALL_SIZE)
    return figure


def _outlined() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.2, foreground=INK)]


def _panels(view: View, x: str, y: str) -> list[tuple[str, pd.DataFrame]]:
    panels = view.panels([x, y])
    policies = view.policies()
    if len(policies) > 1 and len(panels) > 1 and len(policies) * len(panels) > 12:
        raise InvalidInput(
            f"plot: found {len(policies)} policies for {len(panels)} networks and batches, expected at most 12 panels; "
            "choose some with --where, as in: --where \"policy == 'vdnn-dyn'\""
        )
    if len(policies) == 1:
        return [(f"{text}, {policies[0]}", rows) for text, rows in panels]
    single = len(panels) == 1
    return [
        (name if single else f"{text}, {name}", rows[rows["policy"] == name])
        for text, rows in panels
        for name in policies
    ]


class _Table(NamedTuple):
    """Of every cell: the performance, whether a point ran, and whether it fits."""

    performance: np.ndarray
    there: np.ndarray
    fits: np.ndarray


def _table(rows: pd.DataFrame, x: str, y: str, across: _Cells, up: _Cells) -> _Table:
    best = best_by(rows, [y, x])
    places = tuple(
        np.searchsorted(cells.centres, best[name].to_numpy(float) / SCALES[name].factor)
        for cells, name in ((up, y), (across, x))
    )
    performance = np.full((len(up.centres), len(across.centres)), np.nan)
    performance[places] = best["performance"].to_numpy(float)
    fits = np.zeros(performance.shape, dtype=bool)
    fits[places] = best["trainable"].to_numpy(bool)
    return _Table(performance, ~np.isnan(performance), fits)


def _draw(axes: Axes, table: _Table, across: _Cells, up: _Cells, loss: float) -> Any:
    axes.set_xlim(across.borders[0], across.borders[-1])
    axes.set_ylim(up.borders[0], up.borders[-1])
    number_axis(axes, "x", across.logarithmic)
    number_axis(axes, "y", up.logarithmic)
    values = np.ma.masked_where(~table.fits, table.performance)
    mesh = axes.pcolormesh(across.borders, up.borders, values, cmap=_COLOURS, vmin=0, vmax=1, rasterized=True)
    if not table.there.any():
        say_empty(axes)
    _hatch(axes, table.there & ~table.fits, across.borders, up.borders)
    within = np.where(table.fits, table.performance >= 1 - loss, False)
    _outline(axes, within, table.there, across.borders, up.borders)
    return mesh


def _hatch(axes: Axes, cells: np.ndarray, across: np.ndarray, up: np.ndarray) -> None:
    """One path round each run of cells in a row, filled without smoothing, so that no seams show between them."""
    corners = []
    for row, flags in enumerate(cells):
        changes = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
        for left, right in zip(across[changes[::2]], across[changes[1::2]], strict=True):
            corners.append([(left, up[row]), (right, up[row]), (right, up[row + 1]), (left, up[row + 1])])
    if not corners:
        return
    path = Path.make_compound_path(*(Path([*four, four[0]], closed=True) for four in corners))
    axes.add_patch(PathPatch(path, facecolor=SHADE, edgecolor=HATCH, hatch="/////", linewidth=0, antialiased=False))


def _outline(axes: Axes, within: np.ndarray, there: np.ndarray, across: np.ndarray, up: np.ndarray) -> None:
    """A line between every two neighbouring cells of which one is within the loss and the other is not; none where one
    of them has no point, since nothing is known there."""
    known = there[:, 1:] & there[:, :-1]
    rows, columns = np.nonzero((within[:, 1:] != within[:, :-1]) & known)
    upright = [((across[c + 1], up[r]), (across[c + 1], up[r + 1])) for r, c in zip(rows, columns, strict=True)]
    known = there[1:] & there[:-1]
    rows, columns = np.nonzero((within[1:] != within[:-1]) & known)
    level = [((across[c], up[r + 1]), (across[c + 1], up[r + 1])) for r, c in zip(rows, columns, strict=True)]
    for colour, width in ((INK, 2.0), ("white", 1.0)):  # all of the border first, else joints show
        axes.add_collection(LineCollection([*upright, *level], colors=colour, linewidths=width, capstyle="projecting"))


def _borders(centres: np.ndarray, logarithmic: bool) -> np.ndarray:
    """The borders of cells around these centres."""
    own = np.log(centres) if logarithmic else centres
    between = (own[1:] + own[:-1]) / 2
    ends = [own[0] - (between[0] - own[0]) if len(own) > 1 else own[0] - 0.5]
    ends.append(own[-1] + (own[-1] - between[-1]) if len(own) > 1 else own[0] + 0.5)
    borders = np.array([ends[0], *between, ends[1]])
    return np.asarray(np.exp(borders) if logarithmic else borders)
