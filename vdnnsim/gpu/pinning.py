"""Pinned memory of the host: how much of it there is, and what it costs to pin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vdnnsim.errors import InvalidValue
from vdnnsim.units import parse_bytes

_NONE = ("0", "0B", "0 B")


@dataclass(frozen=True, slots=True)
class Pinning:
    """`budget_bytes` can be pinned (None: as much as is asked for; 0: the host cannot pin). A call that pins takes
    `call_ns` and as long as `bytes_per_s` says (None: nobody measured it, and it counts as nothing); `in_step` where
    every copy out pins a buffer anew, in the step, rather than all of it once before training. `powers_of_two` where a
    cache takes blocks of such sizes, as PyTorch's caching host allocator does."""

    budget_bytes: int | None = None
    bytes_per_s: int | None = None
    call_ns: int = 0
    in_step: bool = False
    powers_of_two: bool = False

    def block_bytes(self, size_bytes: int) -> int:
        """What a buffer of this size takes."""
        return 1 << (size_bytes - 1).bit_length() if self.powers_of_two and size_bytes else size_bytes

    def taken_bytes(self, sizes_bytes: Iterable[int]) -> int:
        """What these buffers take together."""
        return sum(map(self.block_bytes, sizes_bytes))

    def call_cost_ns(self, size_bytes: int) -> int:
        """What pinning one buffer takes."""
        return self.call_ns + (self.block_bytes(size_bytes) * 10**9 // self.bytes_per_s if self.bytes_per_s else 0)

    def cost_ns(self, sizes_bytes: Iterable[int]) -> int:
        """What pinning these buffers takes, one after the other."""
        return sum(map(self.call_cost_ns, sizes_bytes))


def parse_budget(budget: int | str) -> int:
    """Bytes of a budget, which may be none. Raises `InvalidValue`."""
    if isinstance(budget, str):
        return 0 if budget.strip() in _NONE else parse_bytes(budget, "pinned budget")
    if budget < 0:
        raise InvalidValue("pinned budget", str(budget), "0 or more")
    return budget
