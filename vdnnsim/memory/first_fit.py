"""First fit in one fixed pool: the textbook rule to compare best fit with.

Rounding, cutting and merging as in cnmem; only the choice differs: the lowest address where the request fits.
"""

from __future__ import annotations

from typing import ClassVar

from vdnnsim.memory.fixed_range import FixedRangePool
from vdnnsim.memory.free_space import FirstFitHoles


class FirstFitPool(FixedRangePool):
    """The lowest hole that is large enough. Raises and counts as `FixedRangePool` does."""

    __slots__ = ()
    name: ClassVar[str] = "first-fit"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes, FirstFitHoles())
