"""Copies in that are page faults: what the driver of unified memory takes for them beside the link."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_BYTES = 2 << 20


@dataclass(frozen=True)
class Paging:
    """Each block of 2 MiB comes in by so many `faults`, one after the other, and the host handles each for
    `handling_ns`. `label` says where both are from."""

    faults: int
    handling_ns: int
    label: str = ""

    def handled_ns(self, size_bytes: int) -> int:
        """How long all of a tensor's faults are handled."""
        return -(-size_bytes // BLOCK_BYTES) * self.faults * self.handling_ns
