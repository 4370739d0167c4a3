"""The model of docs/optimum.md solved by trying everything: each tensor stays, or is gone for some steps and comes back
by copies or is made again, behind the copies in of its stage; each kernel runs in each of its ways. What that takes is
reckoned without any solver."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from vdnnsim.optimum import Choice, Gap, Instance


class Away(NamedTuple):
    """What fills a gap is gone from step `first` to `last`; made again before step `again`, or copied (None)."""

    gap: Gap
    first: int
    last: int
    again: int | None


class Job(NamedTuple):
    """A copy that may run in cells `begin` to `end`: 3k is the wait of step k, up to 3k + 1, in which things are made
    again; 3k + 2 is beside its kernel."""

    begin: int
    end: int
    lasts_ns: int


def least_ns(instance: Instance, bounding: bool = False) -> int | None:
    """The least time of any choice; None where nothing has room. For a bound what leaves beside a kernel without
    workspace is gone for it, and what runs again needs none."""
    least: int | None = None
    ways = sorted(
        (sum(choice.duration_ns for choice in choices), choices)
        for choices in product(*(step.choices for step in instance.steps))
    )
    kept = _kept_bytes(instance)
    for aways in product(*map(_aways, instance.gaps)):
        actions = [away for away in aways if away]
        tensors = [away.gap.tensor for away in actions]
        held = _held_bytes(kept, actions)
        if len(set(tensors)) < len(tensors) or max(held) > instance.capacity_bytes:
            continue
        for kernels_ns, choices in ways:
            if least is not None and kernels_ns >= least:
                break
            if _fits(instance, held, choices, actions, bounding):
                time_ns = _time_ns(choices, actions, bounding)
                if time_ns is not None and (least is None or time_ns < least):
                    least = time_ns
    return least


def _aways(gap: Gap) -> Iterator[Away | None]:
    yield None
    for first in range(gap.first, gap.last + 1):
        for last in range(first, gap.last + 1):
            yield Away(gap, first, last, None)
            if gap.remake_ns is not None:
                yield from (Away(gap, first, last, again) for again in range(last + 1, gap.needed + 1))


def _kept_bytes(instance: Instance) -> list[int]:
    """What there is beside each step where nothing leaves, less its workspace."""
    return [
        instance.fixed_bytes
        + step.used_bytes
        + sum(gap.size_bytes for gap in instance.gaps if gap.first <= number <= gap.last)
        for number, step in enumerate(instance.steps)
    ]


def _held_bytes(kept: list[int], actions: list[Away]) -> list[int]:
    held = kept.copy()
    for away in actions:
        for number in range(away.first, away.last + 1):
            held[number] -= away.gap.size_bytes
    return held


def _fits(
    instance: Instance, held: list[int], choices: tuple[Choice, ...], actions: list[Away], bounding: bool
) -> bool:
    room = instance.capacity_bytes
    return all(size + choice.workspace_bytes <= room for size, choice in zip(held, choices, strict=True)) and all(
        held[away.again] + choices[maker].workspace_bytes - _made_behind(away, actions) <= room
        for away in actions
        if away.again is not None and not bounding
        for maker in away.gap.makers
        if choices[maker].workspace_bytes
    )


def _made_behind(away: Away, actions: list[Away]) -> int:
    """Bytes of what is not there yet when this is made again in the same wait."""
    others = (other for other in actions if other is not away and other.again == away.again)
    return sum(other.gap.size_bytes for other in others if other.gap.makers[-1:] >= away.gap.makers[-1:])


def _time_ns(choices: tuple[Choice, ...], actions: list[Away], bounding: bool) -> int | None:
    cells = [cell for choice in choices for cell in (0, 0, choice.duration_ns)]
    needed = {away.gap: away.gap.needed for away in actions}
    for away in actions:
        if away.again is None:
            continue
        again_ns = (away.gap.remake_ns or 0) + sum(choices[maker].duration_ns for maker in away.gap.makers)
        cells[3 * away.again + 1] += again_ns
        for source in actions:
            if source.gap.tensor in away.gap.sources and source.first <= away.again <= source.gap.last:
                if source.last >= away.again or (source.again or 0) > away.again:
                    return None  # not there, or not yet
                needed[source.gap] = min(needed[source.gap], away.again)
    copied = [away for away in actions if away.again is None]
    late = [2 if bounding and not choices[away.first].workspace_bytes else 1 for away in copied]
    outs = [
        Job(3 * away.gap.written + 3, 3 * away.first + end, away.gap.out_ns)
        for away, end in zip(copied, late, strict=True)
    ]
    ins = [Job(3 * away.last + 3, 3 * needed[away.gap], away.gap.in_ns) for away in copied]
    # Waits as late as they can be serve whatever comes after as well.
    for wait in range(0, len(cells), 3):
        missing = [0]
        for jobs, end in ((outs, wait + 1), (outs, wait + 2), (ins, wait)):
            for begin in {job.begin for job in jobs}:
                wanted = sum(job.lasts_ns for job in jobs if job.begin >= begin and job.end <= end)
                missing.append(wanted - sum(cells[begin : end + 1]))
        cells[wait] += max(missing)
    return sum(cells)
