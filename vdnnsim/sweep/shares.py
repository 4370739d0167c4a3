"""Shares as people write them: "5%" or 0.05."""

from __future__ import annotations

from vdnnsim.errors import InvalidInput


def parse_share(text: str, what: str) -> float:
    """A share between 0 and 1, from text such as "5%", "5 %" or "0.05". Raises `InvalidInput`."""
    stripped = text.strip()
    try:
        share = float(stripped.removesuffix("%")) / (100 if stripped.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InvalidInput(f"{what}: found '{text}', expected a share from 0 to below 1, such as 5% or 0.05")
    return share
