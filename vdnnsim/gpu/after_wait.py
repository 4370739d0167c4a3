"""What the host's calls cost more after it has waited: the code of a call goes cold while other code spins.

Caches of a core are shared with neighbours, so that a path of code that is not used for milliseconds is gone from them;
one use brings it back. Each kind of call goes cold by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from itertools import pairwise

from vdnnsim.errors import InvalidInput


class CallKind(IntEnum):
    """Kinds of calls that go cold by themselves, by number. `ALLOCATE` is any call of the pool, a free as well."""

    __hash__ = int.__hash__  # an Enum's own is a call of Python's

    KERNEL = 0
    COPY = 1
    ALLOCATE = 2
    SYNCHRONISE = 3


@dataclass(frozen=True)
class AfterWait:
    """Nanoseconds that the first call of each kind costs more by how long the host has waited, in all, since the last
    call of that kind: `waits_ns` and for each of them the extras. Piecewise linear, rounded down; constant beyond the
    last. A call without a wait before it costs no more. Raises `InvalidInput` for what is no such table."""

    waits_ns: tuple[int, ...]
    kernel_ns: tuple[int, ...]
    copy_ns: tuple[int, ...]
    allocate_ns: tuple[int, ...]
    synchronise_ns: tuple[int, ...]

    def __post_init__(self) -> None:
        if fault := fault_of_waits(self.waits_ns):
            raise InvalidInput(f"after_wait: waits_ns: found {list(self.waits_ns)[:4]}, expected {fault}")
        for call, extras_ns in zip(CallKind, self._extras_ns(), strict=True):
            if fault := fault_of_extras(extras_ns, self.waits_ns):
                name = f"{call.name.lower()}_ns"
                raise InvalidInput(f"after_wait: {name}: found {list(extras_ns)[:4]}, expected {fault}")

    def extra_ns(self, call: CallKind, waited_ns: int) -> int:
        """What the first call of this kind costs more when the host has waited so long since the last one."""
        from_ns, extra_ns, rise_ns, span_ns = self._pieces[call][bisect_right(self.waits_ns, waited_ns) - 1]
        return extra_ns + rise_ns * (waited_ns - from_ns) // span_ns

    @cached_property
    def _pieces(self) -> list[list[tuple[int, int, int, int]]]:
        """For each kind of call, from each wait on: that wait, the extra there, how much it rises, over how long."""
        spans_ns = [right - left for left, right in pairwise(self.waits_ns)]
        pieces = []
        for extras_ns in self._extras_ns():
            rises_ns = [right - left for left, right in pairwise(extras_ns)]
            pieces.append(list(zip(self.waits_ns, extras_ns, [*rises_ns, 0], [*spans_ns, 1], strict=True)))
        return pieces

    def _extras_ns(self) -> tuple[tuple[int, ...], ...]:
        return self.kernel_ns, self.copy_ns, self.allocate_ns, self.synchronise_ns


def fault_of_waits(waits_ns: tuple[int, ...] | list[int]) -> str:
    """What is expected of a table's waits that these are not; empty where they are."""
    rising = all(left < right for left, right in pairwise(waits_ns))
    return "" if len(waits_ns) > 1 and waits_ns[0] == 0 and rising else "two or more, the first 0, rising"


def fault_of_extras(extras_ns: tuple[int, ...] | list[int], waits_ns: tuple[int, ...] | list[int]) -> str:
    """What is expected of the extras at these waits that these are not; empty where they are."""
    if len(extras_ns) != len(waits_ns):
        return f"{len(waits_ns)} numbers, one for each of waits_ns"
    if min(extras_ns) < 0:
        return "none below 0"
    return "" if extras_ns[0] == 0 else "the first 0: what a call costs without a wait is its cost in [host]"
