"""When each step of an iteration ended: the same rule on both machines."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from vdnnsim.timeline import KernelRecord, WaitRecord


class GivenByStep(NamedTuple):
    """How many kernels and waits there were when each step was over, from the iteration's begin."""

    kernels: list[int]
    waits: list[int]


def given_by_step(steps: int, kernel_steps: Sequence[int], wait_steps: Sequence[int]) -> GivenByStep:
    """The same from the step of each kernel and each wait, in order."""
    return GivenByStep(*([bisect_right(of, step) for step in range(steps)] for of in (kernel_steps, wait_steps)))


def step_ends_ns(
    steps: int, kernels: Sequence[KernelRecord], waits: Sequence[WaitRecord], done_ns: int
) -> tuple[int, ...]:
    """A step ends when its kernels and waits have, never before the step ahead of it, and the last one not before the
    host is through and every copy has ended (`done_ns`)."""
    given = given_by_step(steps, [kernel.step for kernel in kernels], [wait.step for wait in waits])
    kernels_end_ns = list(accumulate((kernel.end_ns for kernel in kernels), max))
    waits_end_ns = list(accumulate((wait.end_ns for wait in waits), max))
    return ends_of_steps(given, kernels_end_ns, waits_end_ns, done_ns)


def ends_of_steps(
    given: GivenByStep, kernels_end_ns: Sequence[int], waits_end_ns: Sequence[int], done_ns: int
) -> tuple[int, ...]:
    """The same where kernels, and waits, are known to end in order: then the last one given says it for all."""
    by_kernels = map([0, *kernels_end_ns].__getitem__, given.kernels)
    by_waits = map([0, *waits_end_ns].__getitem__, given.waits)
    ends = list(map(max, by_kernels, by_waits))
    if ends:
        ends[-1] = max(ends[-1], done_ns)
    return tuple(ends)
