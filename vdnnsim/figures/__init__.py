"""Everything that draws, and the style of all figures; the one place of the package that imports matplotlib.

The names in `__all__` are public: with them, figures of other packages look like these.
"""

from vdnnsim.figures.looks import (
    CLASS_COLOURS,
    ENGINE_COLOURS,
    FAINT,
    GRID,
    INK,
    LIMIT,
    LIMIT_LINE,
    PASS_COLOURS,
    POLICY_LOOKS,
    class_colours,
    paled,
    policy_looks,
)
from vdnnsim.figures.page import (
    MARGIN_IN,
    SMALL_SIZE,
    TEXT_SIZE,
    WIDTH_IN,
    add_axes,
    diamonds,
    new_figure,
    place_text,
    text_width_in,
    write_beside,
)
from vdnnsim.figures.saving import write_figure

__all__ = [
    "CLASS_COLOURS",
    "ENGINE_COLOURS",
    "FAINT",
    "GRID",
    "INK",
    "LIMIT",
    "LIMIT_LINE",
    "MARGIN_IN",
    "PASS_COLOURS",
    "POLICY_LOOKS",
    "SMALL_SIZE",
    "TEXT_SIZE",
    "WIDTH_IN",
    "add_axes",
    "class_colours",
    "diamonds",
    "new_figure",
    "paled",
    "place_text",
    "policy_looks",
    "text_width_in",
    "write_beside",
    "write_figure",
]
