"""Figures as pictures of a page."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from vdnnsim.pages.parts import MEDIA_TYPES, Picture

LARGEST_SVG_BYTES = 300_000
"""Above it, a figure of very many marks, dots are smaller than what they are made of."""


def picture_of(draw: Callable[[Path], object], alt: str, caption: str = "") -> Picture:
    """What `draw` writes to the path that it is given: sharp at any size where that is not too large for a page."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figure.svg"
        draw(path)
        if path.stat().st_size > LARGEST_SVG_BYTES:
            path = path.with_suffix(".png")
            draw(path)
        return Picture(path.read_bytes(), MEDIA_TYPES[path.suffix], alt, caption)
