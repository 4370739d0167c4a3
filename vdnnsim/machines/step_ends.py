"""When each step of an iteration ended: the same rule on both machines."""

from __future__ import annotations

from collections.abc import Iterable

from vdnnsim.timeline import KernelRecord, WaitRecord


def step_ends_ns(
    steps: int, kernels: Iterable[KernelRecord], waits: Iterable[WaitRecord], host_end_ns: int
) -> tuple[int, ...]:
    """A step ends when its kernels and waits have, never before the step ahead of it, and the last one not before the
    host is through."""
    ends = [0] * steps
    for kernel in kernels:
        ends[kernel.step] = max(ends[kernel.step], kernel.end_ns)
    for wait in waits:
        ends[wait.step] = max(ends[wait.step], wait.end_ns)
    latest = 0
    for index, end_ns in enumerate(ends):
        latest = ends[index] = max(latest, end_ns)
    if ends:
        ends[-1] = max(latest, host_end_ns)
    return tuple(ends)
