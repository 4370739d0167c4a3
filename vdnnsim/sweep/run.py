"""Running a sweep: what is missing, on this machine or on a cluster, into its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.sweep.local import LocalWorkers, Part, PartDone, run_here
from vdnnsim.sweep.plan import Sweep
from vdnnsim.sweep.points import Worker
from vdnnsim.sweep.store import Store
from vdnnsim.sweep.table import arrow

if TYPE_CHECKING:
    from vdnnsim.sweep.cluster import Cluster


class Progress(NamedTuple):
    """Points that are done in this run and failed among them, points that were done before, and all there are."""

    done: int
    failed: int
    before: int
    points: int


Report = Callable[[Progress], None]
"""Called before the first part, and after each."""


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_sweep(
    sweep: Sweep,
    folder: Path,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Progress:
    """Do every point that is not done. Raises `InvalidInput` for a folder that holds something else, a full disk, a
    lost worker or cluster: what is done stays, and `resume` goes on."""
    if jobs is not None and jobs < 1:
        raise InvalidInput(f"jobs: found {jobs}, expected 1 or more")
    arrow()
    store = Store(folder)
    tell = report or _silent
    with ExitStack() as stack:
        there = stack.enter_context(_cluster(cluster)) if cluster is not None else None
        stack.enter_context(store.lock())
        store.open(sweep.manifest, sweep.spec.text, resume)
        done = store.done(sweep.manifest)
        identity = sweep.manifest.identity
        parts = [Part(identity, number, *chunk) for number, chunk in enumerate(sweep.chunks) if number not in done]
        before = sum(points for number, points in enumerate(sweep.manifest.parts) if number in done)
        progress = Progress(0, 0, before, sweep.size.points)
        if there is not None:
            finished = there.run(sweep.assignment, parts, store)
        else:
            finished = _local(stack, sweep, parts, store, min(jobs or usable_cores(), len(parts)))
        tell(progress)
        for part in finished:
            progress = progress._replace(done=progress.done + part.points, failed=progress.failed + part.failed)
            tell(progress)
    return progress


def _cluster(address: str) -> Cluster:
    from vdnnsim.sweep.cluster import Cluster

    return Cluster(address)


def _local(stack: ExitStack, sweep: Sweep, parts: list[Part], store: Store, jobs: int) -> Iterator[PartDone]:
    worker = Worker(sweep.assignment)
    if jobs <= 1:
        return run_here(worker, parts, store)
    return stack.enter_context(LocalWorkers(worker, store, jobs)).run(parts)


def _silent(_: Progress) -> None:
    """For callers who do not watch."""
