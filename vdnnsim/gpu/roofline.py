"""What a GPU's kernels cannot be faster than, by its specification: arithmetic and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roofline:
    """Operations a second of each math mode and bytes a second of the device memory, both as specified; `lacks` are
    algorithms that its library does not have."""

    gpu: str
    operations_per_s: Mapping[str, int]
    memory_bytes_per_s: int
    lacks: frozenset[str] = frozenset()
    source: str = ""
