"""The model of docs/optimum.md solved by trying everything: each tensor stays, or is gone for some steps and comes back
by copies or is made again; each kernel runs in each of its ways. What that takes is reckoned without any solver."""

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
    """A copy that may run in cells `begin` to `end`: cell 2k is the wait of step k, 2k + 1 is beside its kernel."""

    begin: int
    end: int
    lasts_ns: int


def least_ns(instance: Instance) -> int | None:
    """The least time of any choice; None where nothing has room."""
    times = []
    for choices in product(*(step.choices for step in instance.steps)):
        for aways in product(*map(_aways, instance.gaps)):
            actions = [away for away in aways if away]
            tensors = [away.gap.tensor for away in actions]
            if len(set(tensors)) == len(tensors) and _fits(instance, choices, actions):
                time_ns = _time_ns(choices, actions)
                if time_ns is not None:
                    times.append(time_ns)
    return min(times, default=None)


def _aways(gap: Gap) -> Iterator[Away | None]:
    yield None
    for first in range(gap.first, gap.last + 1):
        for last in range(first, gap.last + 1):
            yield Away(gap, first, last, None)
            if gap.remake_ns is not None:
                yield from (Away(gap, first, last, again) for again in range(last + 1, gap.needed + 1))


def _fits(instance: Instance, choices: tuple[Choice, ...], actions: list[Away]) -> bool:
    room = instance.capacity_bytes - instance.fixed_bytes
    gone = {(away.gap, step) for away in actions for step in range(away.first, away.last + 1)}
    return all(
        step.used_bytes
        + choice.workspace_bytes
        + sum(gap.size_bytes for gap in instance.gaps if gap.first <= number <= gap.last and (gap, number) not in gone)
        <= room
        for number, (step, choice) in enumerate(zip(instance.steps, choices, strict=True))
    )


def _time_ns(choices: tuple[Choice, ...], actions: list[Away]) -> int | None:
    waits = [0] * len(choices)
    needed = {away.gap: away.gap.needed for away in actions}
    for away in actions:
        if away.again is None:
            continue
        waits[away.again] += away.gap.remake_ns or 0
        for source in actions:
            if source.gap.tensor in away.gap.sources and source.first <= away.again <= source.gap.last:
                if source.last >= away.again or (source.again or 0) > away.again:
                    return None  # not there, or not yet
                needed[source.gap] = min(needed[source.gap], away.again)
    copied = [away for away in actions if away.again is None]
    outs = [Job(2 * away.gap.written + 2, 2 * away.first, away.gap.out_ns) for away in copied]
    ins = [Job(2 * away.last + 2, 2 * needed[away.gap], away.gap.in_ns) for away in copied]
    # Waits as late as they can be serve whatever comes after as well.
    for step in range(len(choices)):
        missing = [0]
        for jobs in (outs, ins):
            for begin in {job.begin for job in jobs}:
                wanted = sum(job.lasts_ns for job in jobs if job.begin >= begin and job.end <= 2 * step)
                missing.append(wanted - _lasts_ns(choices, waits, begin, 2 * step))
        waits[step] += max(missing)
    return sum(choice.duration_ns for choice in choices) + sum(waits)


def _lasts_ns(choices: tuple[Choice, ...], waits: list[int], begin: int, end: int) -> int:
    return sum(choices[cell // 2].duration_ns if cell % 2 else waits[cell // 2] for cell in range(begin, end + 1))
