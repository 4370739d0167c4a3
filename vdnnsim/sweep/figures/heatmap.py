"""Performance over two axes, as colour; a panel for each policy (or network and batch where there is one policy)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vdnnsim.errors import InvalidInput
from vdnnsim.report.figure.style import INK, SMALL_SIZE, add_axes
from vdnnsim.sweep.figures.layout import number_axis, panel_grid
from vdnnsim.sweep.figures.scales import SCALES, is_logarithmic
from vdnnsim.sweep.figures.view import View, best_by

_COLOURS = "cividis"
_NO_FIT = "#E8E8E8"


def draw_heatmap(view: View, title: str, x: str, y: str, loss: float) -> Figure:
    """Cells in which the policy does not fit are hatched; a line goes round those within the loss of the oracle."""
    panels = _panels(view, x, y)
    footer = view.footer([x, y])
    keys = [
        Line2D([], [], color="white", linewidth=1.2, label=f"within {100 * loss:g} % of the oracle"),
        Patch(facecolor=_NO_FIT, edgecolor="#AAAAAA", hatch="/////", label="does not fit"),
    ]
    keys[0].set_path_effects(_outlined())
    figure, all_axes = panel_grid(title, [text for text, _ in panels], footer, keys, right_in=0.62)  # type: ignore[arg-type]
    for axes, (_, rows) in zip(all_axes, panels, strict=True):
        mesh = _draw(axes, best_by(rows, [y, x]), x, y, loss)
        axes.set_xlabel(SCALES[x].label)
    all_axes[0].set_ylabel(SCALES[y].label)
    width, height = figure.get_size_inches()
    place = all_axes[0].get_position()
    bar = add_axes(figure, width - 0.5, place.y0 * height, 0.1, place.height * height)
    figure.colorbar(mesh, cax=bar)
    bar.set_title("oracle = 1", fontsize=SMALL_SIZE, pad=4)
    bar.tick_params(labelsize=SMALL_SIZE)
    return figure


def _outlined() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.2, foreground="#222222")]


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


def _draw(axes: Axes, rows: pd.DataFrame, x: str, y: str, loss: float) -> Any:
    table = rows.pivot(index=y, columns=x, values="performance")
    fits = rows.pivot(index=y, columns=x, values="trainable").to_numpy(dtype=object) == True  # noqa: E712 - null: no point
    across, up = (table.columns.to_numpy(float) / SCALES[x].factor, table.index.to_numpy(float) / SCALES[y].factor)
    logs = [is_logarithmic(list(values)) for values in (across, up)]
    borders = [_borders(values, log) for values, log in zip((across, up), logs, strict=True)]
    values = np.ma.masked_where(~fits, table.to_numpy(float))
    axes.patch.set(facecolor=_NO_FIT, hatch="/////", edgecolor="#AAAAAA")
    mesh = axes.pcolormesh(*borders, values, cmap=_COLOURS, vmin=0, vmax=1, rasterized=True)
    within = np.where(fits, table.to_numpy(float) >= 1 - loss, False)
    _outline(axes, within, *borders)
    axes.set_xlim(borders[0][0], borders[0][-1])
    axes.set_ylim(borders[1][0], borders[1][-1])
    number_axis(axes, "x", logs[0])
    number_axis(axes, "y", logs[1])
    return mesh


def _outline(axes: Axes, within: np.ndarray, across: np.ndarray, up: np.ndarray) -> None:
    """A line between every two neighbouring cells of which one is within the loss and the other is not."""
    rows, columns = np.nonzero(within[:, 1:] != within[:, :-1])
    upright = [((across[c + 1], up[r]), (across[c + 1], up[r + 1])) for r, c in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(within[1:] != within[:-1])
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
