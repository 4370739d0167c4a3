"""One sentence that says what binds an iteration: the largest part of its loss, the host, the kernels, or memory."""

from __future__ import annotations

from collections.abc import Sequence

from vdnnsim.metrics.loss import BINDING, LOSS_BINDS, LOSS_WORDS, Loss
from vdnnsim.metrics.spent import Spent
from vdnnsim.metrics.steps import StepTime

_MOST_OF_THE_STALL = 0.9
_WORTH_SAYING = 1000
"""Smaller parts of the iteration are left out of the sentence."""


def verdict(
    times: Sequence[StepTime],
    spent: Spent,
    loss: Loss,
    untrainable_because: str = "",
    host_binds_because: str = "",
    one_way: bool = False,
) -> str:
    """What binds, with the layers where copies do, and the shares of the iteration that each part of the loss cost. Of
    an iteration whose host is known to bind it, that. Where every kernel runs `one_way`, as in captured steps, kernels
    are slower for copies beside them."""
    total_ns = sum(spent)
    if untrainable_because:
        return f"memory-bound: {untrainable_because}"
    if not total_ns:
        return "nothing to run"
    if host_binds_because:
        return f"host-bound: {host_binds_because}"
    what = binding(spent, loss, one_way)
    words = LOSS_WORDS | {"algorithms_ns": "kernels slowed by copies"} if one_way else LOSS_WORDS
    parts = sorted(zip(loss, loss._fields, strict=True), key=lambda part: -part[0])
    if _binds(parts[0][0], total_ns):
        shown = [(part_ns, name) for part_ns, name in parts if part_ns * _WORTH_SAYING >= total_ns]
        costs = [f"{_percent(part_ns, total_ns)} for {words[name]}" for part_ns, name in shown]
        where = _where(times) if what in ("link", "fetch") else ""
        return f"{what}-bound{where}: of the iteration {', '.join(costs)}"
    if what == "host":
        host_ns = spent.host_ns + spent.synchronise_ns
        return f"host-bound: calls and synchronising take {_percent(host_ns, total_ns)} of the iteration"
    copies_ns = spent.copies_out_ns + spent.copies_in_ns + spent.late_fetches_ns
    waiting = f", copies wait {_percent(copies_ns, total_ns)}" if copies_ns else ""
    return f"compute-bound: kernels run {_percent(spent.worked_ns, total_ns)} of the iteration{waiting}"


def binding(spent: Spent, loss: Loss, one_way: bool = False) -> str:
    """What binds an iteration that fits, in a word: that of the largest part of its loss, "host", "compute", or
    "nothing" where nothing runs; where every kernel runs `one_way`, copies are what makes one slower."""
    total_ns = sum(spent)
    if not total_ns:
        return "nothing"
    largest_ns, largest = max(zip(loss, loss._fields, strict=True), key=lambda part: part[0])
    if _binds(largest_ns, total_ns):
        return "link" if one_way and largest == "algorithms_ns" else LOSS_BINDS[largest]
    return "host" if _binds(spent.host_ns + spent.synchronise_ns, total_ns) else "compute"


def _binds(part_ns: int, total_ns: int) -> bool:
    return part_ns * BINDING >= total_ns


def _where(times: Sequence[StepTime]) -> str:
    """The shortest range of layers, in network order, that holds most of the stall; nothing where nothing stalls, and
    copies bind by what they slow."""
    by_layer: dict[str, int] = {}
    for time in times:
        by_layer[time.layer] = by_layer.get(time.layer, 0) + time.stall_ns
    names = list(by_layer)
    stalls = list(by_layer.values())
    wanted = _MOST_OF_THE_STALL * sum(stalls)
    if not wanted:
        return ""
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
    begin, end = names[best[0]], names[best[1]]
    return f" at {begin}" if begin == end else f" from {begin} to {end}"


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"
