"""cnmem as vDNN used it: best fit in one fixed pool.

Rules as in the public sources of cnmem (NVIDIA): requests round up to 512 B; size 0 succeeds without a block; the
smallest hole that is large enough, of equal ones the lowest; the request takes its low end and the rest always
stays free; free merges with both neighbours. vDNN forbids growth, so there is one device allocation and no
boundary inside it.
"""

from __future__ import annotations

from typing import ClassVar

from vdnnsim.memory.fixed_range import FixedRangePool
from vdnnsim.memory.free_space import BestFitHoles


class BestFitPool(FixedRangePool):
    """The pool of vDNN. Raises and counts as `FixedRangePool` does."""

    __slots__ = ()
    name: ClassVar[str] = "best-fit"

    def __init__(self, capacity_bytes: int) -> None:
        super().__init__(capacity_bytes, BestFitHoles())
