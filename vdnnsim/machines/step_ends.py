"""When each step of an iteration ended: the same rule on both machines."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from vdnnsim.timeline import KernelRecord, WaitRecord


def step_ends_ns(
    steps: int, kernels: Iterable[KernelRecord], waits: Iterable[WaitRecord], done_ns: int
) -> tuple[int, ...]:
    """A step ends when its kernels and waits have, never before the step ahead of it, and the last one not before the
    host is through and every copy has ended (`done_ns`)."""
    kernel_ends = ((kernel.step, kernel.end_ns) for kernel in kernels)
    wait_ends = ((wait.step, wait.end_ns) for wait in waits)
    return ends_of_steps(steps, chain(kernel_ends, wait_ends), done_ns)


def ends_of_steps(steps: int, ended_ns: Iterable[tuple[int, int]], done_ns: int) -> tuple[int, ...]:
    """The same from pairs of a step and the end of one of its kernels or waits, in any order."""
    ends = [0] * steps
    for step, end_ns in ended_ns:
        if end_ns > ends[step]:
            ends[step] = end_ns
    latest = 0
    for index, end_ns in enumerate(ends):
        latest = ends[index] = max(latest, end_ns)
    if ends:
        ends[-1] = max(latest, done_ns)
    return tuple(ends)
