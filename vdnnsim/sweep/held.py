"""Bytes held over a script's own time, which no axis of a sweep changes."""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from vdnnsim.machines.script import Script
from vdnnsim.program import Allocate


class Held(NamedTuple):
    """Bytes in use: all, and those of the feature-extraction layers."""

    all_bytes: int
    feature_extraction_bytes: int

    def __add__(self, other: object) -> Held:
        if not isinstance(other, Held):
            return NotImplemented
        return Held(self.all_bytes + other.all_bytes, self.feature_extraction_bytes + other.feature_extraction_bytes)


class HeldByScript(NamedTuple):
    """`host_area` is byte-nanoseconds held during the host's own time outside waits, `waits` what is held during each
    wait in the script's order, `end` at the end, and `most_bytes` the most that ever is."""

    host_area: Held
    waits: tuple[Held, ...]
    end: Held
    most_bytes: int


def held_by(script: Script) -> HeldByScript:
    """What the script's buffers hold. A buffer counts from when the call that takes it is over."""
    setup = script.program.setup
    held = sum(buffer.size_bytes for buffer in setup)
    inner = sum(buffer.size_bytes for buffer in setup if not buffer.in_classifier)
    host_ns = sum(script.calls_ns)
    before_ns = list(accumulate(script.calls_ns, initial=0))
    area, inner_area, most_bytes = held * host_ns, inner * host_ns, held
    in_waits: list[Held] = []
    calls = script.memory
    for command, waits, offset_ns in zip(calls.commands, calls.waits, calls.offsets_ns, strict=True):
        if len(in_waits) < waits:
            in_waits += [Held(held, inner)] * (waits - len(in_waits))
        _, size_bytes, _, _, in_classifier, *_ = command.buffer
        more = size_bytes if isinstance(command, Allocate) else -size_bytes
        rest_ns = host_ns - before_ns[waits] - offset_ns
        held += more
        area += more * rest_ns
        most_bytes = max(most_bytes, held)
        if not in_classifier:
            inner += more
            inner_area += more * rest_ns
    end = Held(held, inner)
    in_waits += [end] * (len(script.wait_steps) - len(in_waits))
    return HeldByScript(Held(area, inner_area), tuple(in_waits), end, most_bytes)
