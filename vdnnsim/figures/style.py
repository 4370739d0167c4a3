"""How figures look, and how they reach their files. Nothing here outlives a figure: pyplot is not used, and the
settings of the user's matplotlib neither change nor are changed by it.

Colours: from Paul Tol's medium-contrast set (personal.sron.nl/~pault), with a grey; told apart with any colour vision
and, neighbour by neighbour, in grey print.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vdnnsim.errors import InvalidInput
from vdnnsim.files import whole_file
from vdnnsim.report.words import provenance, subject
from vdnnsim.results import Comparison

SUFFIXES = (".png", ".pdf", ".svg")
WIDTH_IN = 7.0
"""The text width of a two-column page."""
MARGIN_IN = 0.08
TOP_IN = 0.7
"""Room above the axes, for the title and the legend."""
BOTTOM_IN = 0.64
"""Room below the axes, for the axis' label and the footer."""
DPI = 300
FAR = 2.5
"""A capacity this many times the most that was in use is written at the edge: to scale, the rest would be specks."""

TEXT_SIZE = 7.0
SMALL_SIZE = 6.0
INK = "#222222"
FAINT = "#777777"
GRID = "#DDDDDD"
LIMIT = "#CC3311"
CLASS_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "weights": "#004488",
        "weight gradients": "#6699CC",
        "feature maps": "#EECC66",
        "gradient maps": "#994455",
        "workspace": "#999999",
    }
)
POLICY_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "oracle": INK,
        "baseline(m)": "#CCCCCC",
        "baseline(p)": "#888888",
        "vdnn-all(m)": "#6699CC",
        "vdnn-all(p)": "#004488",
        "vdnn-conv(m)": "#DDAA33",
        "vdnn-conv(p)": "#997700",
        "vdnn-dyn": "#994455",
    }
)
"""A hue for each pair of policies, light for (m) and dark for (p); dark enough for a line, apart enough for bars."""
_OTHER_COLOURS = ("#997700", "#EE99AA", "#44AA99", "#332288")
_OTHER_POLICY_COLOURS = ("#44AA99", "#332288", "#EE99AA", "#117733")
_SETTINGS: Any = MappingProxyType(
    {
        "font.family": "DejaVu Sans",  # comes with matplotlib, so that figures are the same everywhere
        "font.size": TEXT_SIZE,
        "text.color": INK,
        "text.parse_math": False,  # a "$" in a name is a "$"
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.labelsize": TEXT_SIZE,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.labelsize": SMALL_SIZE + 0.5,
        "ytick.labelsize": SMALL_SIZE + 0.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "patch.linewidth": 0.4,
        "legend.frameon": False,
        "pdf.fonttype": 42,  # publishers refuse type 3 fonts
        "svg.hashsalt": "vdnnsim",  # the same ids, and so the same bytes, every time
    }
)


def class_colours(classes: Iterable[str]) -> dict[str, str]:
    """A colour for each class of memory, with spare ones for classes that are not the package's own."""
    return _colours(classes, CLASS_COLOURS, _OTHER_COLOURS)


def policy_colours(policies: Iterable[str]) -> dict[str, str]:
    """A colour for each policy, the same in every figure, with spare ones for policies of the user's own."""
    return _colours(policies, POLICY_COLOURS, _OTHER_POLICY_COLOURS)


def _colours(names: Iterable[str], known: Mapping[str, str], others: Sequence[str]) -> dict[str, str]:
    spare = cycle(others)
    return {name: known.get(name) or next(spare) for name in names}


def paled(colour: str, strength: float) -> str:
    """The colour mixed with white, opaque, so that grid lines do not show through; 1 is the colour itself."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def comparison_axes(comparison: Comparison, path: Path | str | None, draw: Callable[[], Figure]) -> tuple[Axes, ...]:
    """Draw the figure of a comparison, and write it where there is a path; see `write_figure`."""
    paths = [] if path is None else [Path(path)]
    return write_figure(paths, subject(comparison), provenance(comparison), draw)


def write_figure(paths: Sequence[Path], title: str, note: str, draw: Callable[[], Figure]) -> tuple[Axes, ...]:
    """Draw a figure and write it, each file whole or not at all, in the format of its suffix; returns its axes.

    Raises `InvalidInput` for a suffix that is none of `SUFFIXES`, and where a file cannot be written.
    """
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            found = f"'{path.suffix}'" if path.suffix else "none"
            raise InvalidInput(f"figure {path}: found suffix {found}, expected one of: {', '.join(SUFFIXES)}")
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # drawn as a box; no news for the user
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        figure = draw()
        for path in paths:
            suffix = path.suffix.lower()
            with whole_file(path) as temporary:
                figure.savefig(temporary, format=suffix[1:], dpi=DPI, metadata=_metadata(suffix, title, note))
    return tuple(figure.axes)


def _metadata(suffix: str, title: str, note: str) -> dict[str, Any]:
    """The subject and the provenance travel in the file; the time of writing does not, so that equal results give equal
    files."""
    match suffix:
        case ".pdf":
            return {"Title": title, "Subject": note, "CreationDate": None}
        case ".svg":
            return {"Title": title, "Description": note, "Date": None}
        case _:
            return {"Title": title, "Description": note}


def new_figure(height_in: float) -> Figure:
    """An empty figure of the page's width."""
    figure = Figure(figsize=(WIDTH_IN, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def add_axes(figure: Figure, left_in: float, bottom_in: float, width_in: float, height_in: float) -> Axes:
    """Axes at a place given in inches from the figure's lower left."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left_in / width, bottom_in / height, width_in / width, height_in / height))


def dress(figure: Figure, title: str, handles: Sequence[Patch | Line2D], note: str) -> None:
    """Put a title and a legend in one row above the axes, and a footer below them."""
    height_in = figure.get_size_inches()[1]
    _place_text(figure, height_in - 0.09, title, weight="bold", va="top", size=TEXT_SIZE + 1)
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - 0.24 / height_in),
        ncols=len(handles),
        columnspacing=1.2,
        handlelength=1.2,
        handletextpad=0.5,
    )
    _place_text(figure, 0.07, note, size=SMALL_SIZE, color=FAINT, va="bottom")


def class_handles(colours: Mapping[str, str]) -> list[Patch | Line2D]:
    """The legend's entries for classes of memory."""
    return [Patch(facecolor=colour, label=name) for name, colour in colours.items()]


def write_beside(axes: Axes, text: str, x: float, y: float, **options: Any) -> None:
    """Text in small letters at a place of the axes, which may be outside them; `coords` as matplotlib's `xycoords`,
    `shift_pt` moves it."""
    axes.annotate(
        text,
        (x, y),
        xycoords=options.pop("coords", "data"),
        xytext=options.pop("shift_pt", (3, 0)),
        textcoords="offset points",
        size=options.pop("size", SMALL_SIZE),
        va=options.pop("va", "center_baseline"),
        annotation_clip=False,
        **options,
    )


def _place_text(figure: Figure, y_in: float, text: str, **options: Any) -> None:
    width_in, height_in = figure.get_size_inches()
    placed = figure.text(MARGIN_IN / width_in, y_in / height_in, text, **options)
    room_in, needed_in = width_in - 2 * MARGIN_IN, placed.get_window_extent().width / figure.dpi
    if needed_in > room_in:
        placed.set_fontsize(placed.get_fontsize() * room_in / needed_in)


def text_width_in(figure: Figure, text: str, size: float = TEXT_SIZE) -> float:
    """The width that a text would have, in inches."""
    probe = figure.text(0, 0, text, fontsize=size)
    width = probe.get_window_extent().width / figure.dpi
    probe.remove()
    return float(width)
