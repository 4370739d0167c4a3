"""Parts worked out on this machine, in this process or in others, each writing its parts itself.

What goes to and fro between processes is short: a message that is cut off, by a worker that was killed in the middle of
it, would be waited for without end. So workers read what they need from a file, and leave rows in another.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Generator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from vdnnsim.processes import Processes, WorkerEnded, finished
from vdnnsim.sweep.points import Assignment, Worker
from vdnnsim.sweep.seals import Seal
from vdnnsim.sweep.store import Store
from vdnnsim.sweep.table import parquet_bytes

_PARTS_AHEAD = 2
"""Parts given out for each process, so that none is idle."""
_ALONE_S = 0.5
"""About what it takes until others are ready."""


class Part(NamedTuple):
    """A part to do: the identity of its sweep, its number, and its raw points [first, last)."""

    sweep: str
    number: int
    first: int
    last: int


class PartDone(NamedTuple):
    """A part that is worked out: how many points it has, and how many of them failed."""

    number: int
    points: int
    failed: int


def encode(worker: Worker, part: Part) -> tuple[PartDone, bytes]:
    """Work out a part: what it holds, and its file."""
    table = worker.table(part.first, part.last)
    failed = sum(status == "failed" for status in table["status"].to_pylist())
    seal = Seal(part.sweep, part.number, table.num_rows, failed)
    return PartDone(part.number, table.num_rows, failed), parquet_bytes(table, seal)


def run_here(assignment: Assignment, parts: Sequence[Part], store: Store) -> Generator[PartDone]:
    """In this process, one part after the other."""
    worker = Worker(assignment)
    for part in parts:
        yield _write(worker, store, part)


def run_in_processes(assignment: Assignment, parts: Sequence[Part], store: Store, jobs: int) -> Generator[PartDone]:
    """In so many processes, in any order. This one begins, alone while it may soon be through, then until others are
    ready. Raises what a worker met, `WorkerEnded` where one was killed."""
    worker, waiting = Worker(assignment), deque(parts)
    alone_until_s = time.monotonic() + _ALONE_S
    while waiting and time.monotonic() < alone_until_s:
        yield _write(worker, store, waiting.popleft())
    if not waiting:
        return
    with store.passing(pickle.dumps(assignment)) as path, Processes(jobs) as executor:
        begun = [executor.submit(_begin, path) for _ in range(jobs)]
        while waiting and not any(future.done() for future in begun):
            yield _write(worker, store, waiting.popleft())
        try:
            for _, done in finished(executor, partial(_run, path, store), waiting, _PARTS_AHEAD * jobs):
                yield done
        except WorkerEnded as error:
            more = "Nothing that was done is lost: run again with --resume, perhaps with fewer --jobs"
            raise WorkerEnded(f"{error}. {more}") from None


def _write(worker: Worker, store: Store, part: Part) -> PartDone:
    done, contents = encode(worker, part)
    store.write_part(part.number, contents)
    return done


def _begin(assignment: Path) -> None:
    """In another process: imports what is needed, and reads what parts are made of."""
    _worker(assignment)


def _run(assignment: Path, store: Store, part: Part) -> PartDone:
    """In another process."""
    return _write(_worker(assignment), store, part)


@lru_cache(maxsize=1)
def _worker(assignment: Path) -> Worker:
    """One for all parts of a process: it keeps the programs that it made."""
    return Worker(pickle.loads(assignment.read_bytes()))
