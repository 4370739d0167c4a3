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
"""Parts given out for each other process, so that none is idle while this one works on its own."""
_ALONE_S = 0.5
"""About what it takes until others are ready: who may be through in twice that is faster alone."""


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
    """In so many processes, this one among them, in any order. It begins alone, while its quickest part says that it
    may soon be through; the first one plans, and says little. Raises what a worker met, `WorkerEnded` where one was
    killed."""
    here, waiting = partial(_write, Worker(assignment), store), deque(parts)
    took_s: list[float] = []
    while waiting and sum(took_s) < _ALONE_S and (len(took_s) < 2 or min(took_s) * len(waiting) < 2 * _ALONE_S):
        begin_s = time.monotonic()
        yield here(waiting.popleft())
        took_s.append(time.monotonic() - begin_s)
    if not waiting:
        return
    ahead = _PARTS_AHEAD * (jobs - 1)
    with store.passing(pickle.dumps(assignment)) as path, Processes(jobs - 1) as others:
        try:
            for _, done in finished(others, partial(_run, path, store), waiting, ahead, here=here):
                yield done
        except WorkerEnded as error:
            more = "Nothing that was done is lost: run again with --resume, perhaps with fewer --jobs"
            raise WorkerEnded(f"{error}. {more}") from None


def _write(worker: Worker, store: Store, part: Part) -> PartDone:
    done, contents = encode(worker, part)
    store.write_part(part.number, contents)
    return done


def _run(assignment: Path, store: Store, part: Part) -> PartDone:
    """In another process."""
    return _write(_worker(assignment), store, part)


@lru_cache(maxsize=1)
def _worker(assignment: Path) -> Worker:
    """One for all parts of a process: it keeps the programs that it made."""
    return Worker(pickle.loads(assignment.read_bytes()))
