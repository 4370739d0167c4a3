"""What `make test` leaves to `make test-all`: half of the random examples, and what takes long beside cheaper tests."""

from __future__ import annotations

import os

import pytest

THOROUGH = os.environ.get("VDNNSIM_TESTS") == "all"


def tries(count: int) -> int:
    """How many of so many examples to try."""
    return count if THOROUGH else -(-count // 2)


thorough = pytest.mark.skipif(not THOROUGH, reason="run by make test-all: a cheaper test has the rule")
