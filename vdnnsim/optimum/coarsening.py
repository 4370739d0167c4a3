"""Instances with fewer periods: what a schedule can do, stage by stage; a coarser one, whose plans are plans of the
finer; and one that looks at some kernels alone, whose optimum is no larger."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from vdnnsim.optimum.instance import Gap, Instance, Step


def stage_begins(instance: Instance) -> list[int]:
    """The first step of each stage."""
    steps = instance.steps
    return [number for number, step in enumerate(steps) if number == 0 or steps[number - 1].stage < step.stage]


def weighty_begins(instance: Instance, count: int) -> list[int]:
    """The first steps of about so many rows of stages, in each of which about as much happens: time passes, and bytes
    are written last before a gap or needed first behind one. Where much does, a row is a single stage."""
    steps = len(instance.steps)
    fastest_ns = max(1, instance.fastest_ns)
    moved = [0] * (steps + 1)
    for gap in instance.gaps:
        moved[max(gap.written, 0)] += gap.size_bytes
        moved[gap.needed] += gap.size_bytes
    moved_bytes = max(1, sum(moved))
    weights = [
        instance.fastest_of_ns(step) / fastest_ns + size_bytes / moved_bytes
        for step, size_bytes in zip(instance.steps, moved, strict=False)
    ]
    found, weight = [0], 0.0
    for begin, end in pairwise((*stage_begins(instance), steps)):
        own = sum(weights[begin:end])
        if begin and weight + own > sum(weights) / count:
            found.append(begin)
            weight = 0.0
        weight += own
    return found


def in_periods(instance: Instance, begins: Sequence[int]) -> Instance:
    """An instance of single steps, in which things go and come before these steps alone, the first one among them: its
    plans are plans of the finer one. What cannot go for a whole period is in use."""
    ends = [*begins[1:], len(instance.steps)]
    used = [step.used_bytes for step in instance.steps]
    gaps: list[Gap] = []
    for gap in instance.gaps:
        first, last = bisect_left(begins, gap.first), bisect_right(ends, gap.last + 1) - 1
        inside = range(begins[first], ends[last]) if first <= last else range(0)
        for step in range(gap.first, gap.last + 1):
            if step not in inside:
                used[step] += gap.size_bytes
        if inside:
            written = bisect_right(begins, gap.written) - 1
            again = max(0, bisect_right(begins, gap.again) - 1)
            gaps.append(gap._replace(first=first, last=last, needed=last + 1, written=written, again=again))
    steps = tuple(step._replace(used_bytes=size) for step, size in zip(instance.steps, used, strict=True))
    return replace(instance, steps=steps, gaps=tuple(gaps), begins=tuple(begins))


def at_marks(instance: Instance, marks: Sequence[int]) -> Instance:
    """An instance of single steps, in which memory counts beside these alone, the last one among them, all others run
    at their fastest and things are made again out of nothing, by kernels at their fastest: its optimum is no larger."""
    fastest = [instance.fastest_of_ns(step) for step in instance.steps]
    steps = []
    before = 0
    for mark in marks:
        steps.append(_with_those_before(instance, fastest, range(before, mark + 1)))
        before = mark + 1
    return replace(instance, steps=tuple(steps), gaps=tuple(_seen(instance, marks)))


def _with_those_before(instance: Instance, fastest: Sequence[int], steps: range) -> Step:
    """The last of these steps: those before it are given before it, and run."""
    *others, mark = steps
    found = instance.steps[mark]
    called_ns, ready_ns, before_ns = found.called_ns, found.ready_ns, 0
    for step in reversed(others):
        before_ns += fastest[step]
        called_ns = instance.steps[step].called_ns
        if instance.steps[step].ready_ns:
            ready_ns = max(ready_ns, instance.steps[step].ready_ns + before_ns)
    return found._replace(before_ns=before_ns, ready_ns=ready_ns, called_ns=called_ns)


def _seen(instance: Instance, marks: Sequence[int]) -> Iterator[Gap]:
    for gap in instance.gaps:
        first, last = bisect_left(marks, gap.first), bisect_right(marks, gap.last) - 1
        if first <= last:
            written = bisect_right(marks, gap.written) - 1
            again_ns = gap.remake_ns
            if again_ns is not None:
                again_ns += sum(instance.fastest_of_ns(instance.steps[maker]) for maker in gap.makers)
            again = bisect_left(marks, gap.again)
            seen = gap._replace(first=first, last=last, needed=last + 1, written=written, again=again)
            yield seen._replace(remake_ns=again_ns, sources=(), makers=())


def tightest(instance: Instance, count: int) -> list[int]:
    """So many steps at most, spread over the iteration, at which most memory is wanted, and the last one."""
    wanted = [step.used_bytes + step.choices[0].workspace_bytes for step in instance.steps]
    for gap in instance.gaps:
        for step in range(gap.first, gap.last + 1):
            wanted[step] += gap.size_bytes
    steps = len(wanted)
    size = -(-steps // count)
    marks = {max(range(begin, min(begin + size, steps)), key=wanted.__getitem__) for begin in range(0, steps, size)}
    return sorted(marks | {steps - 1})


def only(instance: Instance, leaves: Callable[[Gap], bool]) -> Instance:
    """An instance of single steps, in which nothing else leaves."""
    used = [step.used_bytes for step in instance.steps]
    for gap in instance.gaps:
        if not leaves(gap):
            for step in range(gap.first, gap.last + 1):
                used[step] += gap.size_bytes
    steps = tuple(step._replace(used_bytes=size) for step, size in zip(instance.steps, used, strict=True))
    return replace(instance, steps=steps, gaps=tuple(gap for gap in instance.gaps if leaves(gap)))
