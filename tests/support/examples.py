"""On how many random examples a property is tried: half of them by `make test`, all by `make test-all`."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("VDNNSIM_TESTS") == "all"


def tries(count: int) -> int:
    """How many of so many examples to try."""
    return count if THOROUGH else -(-count // 2)
