"""One sentence that says what binds an iteration: the kernels, the link, the host, or memory."""

from __future__ import annotations

from collections.abc import Sequence

from vdnnsim.metrics.steps import StepTime

BINDING = 0.02
"""Stalls or host time below this share of the iteration do not bind it; what they are is still said."""
_MOST_OF_THE_STALL = 0.9


def verdict(times: Sequence[StepTime], untrainable_because: str = "") -> str:
    """What binds, with the layers where it does and the share of the iteration."""
    total_ns = sum(time.duration_ns for time in times)
    if untrainable_because:
        return f"memory-bound: {untrainable_because}"
    if not total_ns:
        return "nothing to run"
    stall_ns = sum(time.stall_ns for time in times)
    overhead_ns = sum(time.overhead_ns for time in times)
    if stall_ns >= BINDING * total_ns and stall_ns >= overhead_ns:
        first, last = _stalled_layers(times, stall_ns)
        where = f"at {first}" if first == last else f"from {first} to {last}"
        return f"link-bound {where}: copies wait {_percent(stall_ns, total_ns)} of the iteration"
    if overhead_ns >= BINDING * total_ns:
        return f"host-bound: calls and synchronising take {_percent(overhead_ns, total_ns)} of the iteration"
    kernels_ns = sum(time.kernel_ns for time in times)
    waiting = f", copies wait {_percent(stall_ns, total_ns)}" if stall_ns else ""
    return f"compute-bound: kernels run {_percent(kernels_ns, total_ns)} of the iteration{waiting}"


def _stalled_layers(times: Sequence[StepTime], stall_ns: int) -> tuple[str, str]:
    """The shortest range of layers, in network order, that holds most of the stall."""
    by_layer: dict[str, int] = {}
    for time in times:
        by_layer[time.layer] = by_layer.get(time.layer, 0) + time.stall_ns
    names = list(by_layer)
    stalls = list(by_layer.values())
    wanted = _MOST_OF_THE_STALL * stall_ns
    best = (0, len(names) - 1)
    first = 0
    inside = 0
    for last, stall in enumerate(stalls):
        inside += stall
        while inside - stalls[first] >= wanted:
            inside -= stalls[first]
            first += 1
        if inside >= wanted and last - first < best[1] - best[0]:
            best = (first, last)
    return names[best[0]], names[best[1]]


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"
