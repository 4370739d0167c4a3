"""Running a sweep: what is missing, on this machine or on a cluster, into its folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.processes import usable_cores
from vdnnsim.sweep.local import Part, run_here, run_in_processes
from vdnnsim.sweep.plan import Sweep, plan_sweep
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


def run_sweep(
    sweep: Sweep | Path | str,
    folder: Path | str,
    *,
    jobs: int | None = None,
    cluster: str | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> Progress:
    """Do every point that is not done of a sweep, or of the spec in a file, into its folder: on `jobs` processes (one
    for each core where that is None), or on the workers of the dask scheduler at `cluster`.

    Raises `InvalidFile` for the spec, and `InvalidInput` for a folder that holds something else, a full disk, a lost
    worker or cluster: what is done stays, and `resume` goes on.
    """
    if jobs is not None and jobs < 1:
        raise InvalidInput(f"jobs: found {jobs}, expected 1 or more")
    arrow()
    if not isinstance(sweep, Sweep):
        sweep = plan_sweep(sweep)
    store = Store(Path(folder))
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
        jobs = min(jobs or usable_cores(), len(parts))
        if there is not None:
            finished = there.run(sweep.assignment, parts, store)
        elif jobs > 1:
            finished = run_in_processes(sweep.assignment, parts, store, jobs)
        else:
            finished = run_here(sweep.assignment, parts, store)
        stack.enter_context(closing(finished))
        tell(progress)
        for part in finished:
            progress = progress._replace(done=progress.done + part.points, failed=progress.failed + part.failed)
            tell(progress)
    return progress


def _cluster(address: str) -> Cluster:
    from vdnnsim.sweep.cluster import Cluster

    return Cluster(address)


def _silent(_: Progress) -> None:
    """For callers who do not watch."""
