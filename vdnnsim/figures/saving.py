"""How figures reach their files: the one place in which a figure is drawn and saved. Nothing here outlives a figure:
pyplot is not used, and the settings of the user's matplotlib neither change nor are changed by it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vdnnsim.errors import InvalidInput
from vdnnsim.figures.looks import INK
from vdnnsim.figures.page import DPI, SMALL_SIZE, TEXT_SIZE
from vdnnsim.files import whole_file
from vdnnsim.report.words import provenance, subject
from vdnnsim.results import Comparison

SUFFIXES = (".png", ".pdf", ".svg")
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
