"""Running a sweep: what is missing, on this machine or on a cluster, into its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.sweep.local import LocalWorkers, Part, PartDone, run_here
from vdnnsim.sweep.plan import Sweep
from vdnnsim.sweep.points import Worker
from vdnnsim.sweep.store import Store
from vdnnsim.sweep.table import arrow


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
    with store.lock():
        store.open(sweep.manifest, sweep.spec.text, resume)
        done = store.done(sweep.manifest)
        parts = [Part(number, *chunk) for number, chunk in enumerate(sweep.chunks) if number not in done]
        before = sum(points for number, points in enumerate(sweep.manifest.parts) if number in done)
        tell = report or _silent
        progress = start = Progress(0, 0, before, sweep.size.points)
        if not parts:
            tell(progress)
            return progress
        jobs = min(jobs or usable_cores(), len(parts))
        for part in _run(sweep, parts, store, jobs, cluster, lambda: tell(start)):
            progress = progress._replace(done=progress.done + part.points, failed=progress.failed + part.failed)
            tell(progress)
    return progress


def _run(
    sweep: Sweep, parts: list[Part], store: Store, jobs: int, cluster: str | None, started: Callable[[], None]
) -> Iterator[PartDone]:
    if cluster is not None:
        from vdnnsim.sweep.cluster import Cluster

        with Cluster(cluster) as there:
            started()
            yield from there.run(sweep.assignment, parts, store)
        return
    worker = Worker(sweep.assignment)
    if jobs == 1:
        started()
        yield from run_here(worker, parts, store)
        return
    with LocalWorkers(worker, store, jobs) as workers:
        started()
        yield from workers.run(parts)


def _silent(_: Progress) -> None:
    """For callers who do not watch."""
