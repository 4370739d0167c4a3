"""Everything that draws, and the style of all figures; the one place of the package that imports matplotlib.

The names in `__all__` are public: with them, figures of other packages look like these.
"""

from vdnnsim.figures.style import (
    CLASS_COLOURS,
    FAINT,
    GRID,
    INK,
    LIMIT,
    MARGIN_IN,
    POLICY_COLOURS,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH_IN,
    add_axes,
    new_figure,
    paled,
    text_width_in,
    write_figure,
)

__all__ = [
    "CLASS_COLOURS",
    "FAINT",
    "GRID",
    "INK",
    "LIMIT",
    "MARGIN_IN",
    "POLICY_COLOURS",
    "SMALL_SIZE",
    "TEXT_SIZE",
    "WIDTH_IN",
    "add_axes",
    "new_figure",
    "paled",
    "text_width_in",
    "write_figure",
]
