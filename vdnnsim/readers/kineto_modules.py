"""The layers of a profiler's trace: its modules, or what stands for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vdnnsim.profiler.recording import MODULE, NODE, STEP, Recording


def with_modules(recording: Recording) -> Recording:
    """Where the file names no modules, the user's own ranges stand for them, and outside of these forward operators,
    numbered."""
    ranges = list(recording.ranges)
    if any(one.name.startswith(MODULE) for one in ranges):
        return recording
    for number, one in enumerate(ranges):
        if not (one.is_operator or one.name == STEP or one.name.startswith(("ProfilerStep#", "Optimizer.", NODE))):
            ranges[number] = one._replace(name=MODULE + one.name)
    named = replace(recording, ranges=ranges)
    counts: dict[str, int] = {}
    for number in list(_forward_operators(named)):
        one = ranges[number]
        if not any(ranges[n].name.startswith(MODULE) for n in named.chain(one.parent)):
            short = one.name.removeprefix("aten::")
            counts[short] = counts.get(short, 0) + 1
            ranges[number] = one._replace(parent=len(ranges))
            ranges.append(one._replace(name=f"{MODULE}{short}.{counts[short]}", is_operator=False))
    return named


def _forward_operators(recording: Recording) -> Iterator[int]:
    """The outermost operators of the step that nodes of the graph are of."""
    begin_ns, end_ns = recording.window(STEP)
    for number, one in enumerate(recording.ranges):
        inside = (
            one.is_operator
            and one.sequence >= 0
            and not one.name.startswith(NODE)
            and begin_ns <= one.begin_ns < end_ns
        )
        if inside and not any(
            recording.ranges[n].is_operator or recording.ranges[n].name.startswith(NODE)
            for n in recording.chain(one.parent)
        ):
            yield number
