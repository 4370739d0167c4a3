"""What `make test` leaves to `make test-all`: half of the random examples, and what takes long beside cheaper tests."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable

import pytest

THOROUGH = os.environ.get("VDNNSIM_TESTS") == "all"


def tries(count: int) -> int:
    """How many of so many examples to try."""
    return count if THOROUGH else -(-count // 2)


thorough = pytest.mark.skipif(not THOROUGH, reason="run by make test-all: a cheaper test has the rule")


def mostly_thorough(values: Iterable[str], kept: Container[str]) -> list[object]:
    """Values to try a test on: those that are kept by `make test` as well, the others by `make test-all`."""
    return [value if value in kept else pytest.param(value, marks=thorough) for value in values]
