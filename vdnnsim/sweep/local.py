"""Parts worked out on this machine: one process for each job, each with its own programs, writing its parts itself.

Workers are forked, so that they start at once and share what was read. Each has a pipe: a number of a part goes in,
what became of it comes out. A worker whose pipe closes ends, so that none outlives the sweep by more than a part."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from vdnnsim.errors import InvalidInput, VdnnsimError
from vdnnsim.sweep.points import Worker
from vdnnsim.sweep.seals import Seal
from vdnnsim.sweep.store import Store
from vdnnsim.sweep.table import parquet_bytes


class Part(NamedTuple):
    """A part to do: the identity of its sweep, its number, and its raw points [first, last)."""

    sweep: str
    number: int
    first: int
    last: int


class PartDone(NamedTuple):
    """A part whose rows are on the disk."""

    number: int
    points: int
    failed: int


def encode(worker: Worker, part: Part) -> tuple[PartDone, bytes]:
    """Work out a part: what it holds, and its file."""
    table = worker.table(part.first, part.last)
    failed = sum(status == "failed" for status in table["status"].to_pylist())
    seal = Seal(part.sweep, part.number, table.num_rows, failed)
    return PartDone(part.number, table.num_rows, failed), parquet_bytes(table, seal)


def run_here(worker: Worker, parts: Sequence[Part], store: Store) -> Iterator[PartDone]:
    """In this process, one part after the other."""
    for part in parts:
        done, contents = encode(worker, part)
        store.write_part(part.number, contents)
        yield done


class LocalWorkers:
    """Forks `jobs` workers when entered; ends them when left. Enter it before any thread is started."""

    def __init__(self, worker: Worker, store: Store, jobs: int) -> None:
        self._worker = worker
        self._store = store
        self._jobs = jobs
        self._pipes: dict[Connection, multiprocessing.Process] = {}

    def __enter__(self) -> LocalWorkers:
        context = multiprocessing.get_context("fork")
        for _ in range(self._jobs):
            ours, theirs = context.Pipe()
            inherited = [*self._pipes, ours]
            process = context.Process(target=_serve, args=(theirs, inherited, self._worker, self._store), daemon=True)
            with warnings.catch_warnings():
                # Libraries may have threads of their own; they hold none of our locks, and start anew after a fork.
                warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork", category=DeprecationWarning)
                process.start()
            theirs.close()
            self._pipes[ours] = process  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        for pipe, process in self._pipes.items():
            pipe.close()
            process.terminate()
        for process in self._pipes.values():
            process.join()

    def run(self, parts: Sequence[Part]) -> Iterator[PartDone]:
        """The parts as they get done, in any order. Raises what a worker met, `InvalidInput` where one was killed."""
        waiting = iter(parts)
        busy: dict[Connection, Part] = {}
        for pipe in self._pipes:
            self._give(pipe, waiting, busy)
        while busy:
            for ready in wait(list(busy)):
                pipe = next(pipe for pipe in busy if pipe is ready)
                yield self._take(pipe, busy)
                self._give(pipe, waiting, busy)

    def _give(self, pipe: Connection, waiting: Iterator[Part], busy: dict[Connection, Part]) -> None:
        part = next(waiting, None)
        if part is not None:
            pipe.send(part)
            busy[pipe] = part

    def _take(self, pipe: Connection, busy: dict[Connection, Part]) -> PartDone:
        part = busy.pop(pipe)
        try:
            answer = pipe.recv()
        except (EOFError, OSError):
            process = self._pipes[pipe]
            process.join(timeout=5)
            raise InvalidInput(
                f"worker {process.pid} ended with code {process.exitcode} at points {part.first} to {part.last} "
                "(out of memory, or killed). Nothing that was done is lost: run again with --resume, "
                "perhaps with fewer --jobs"
            ) from None
        if isinstance(answer, BaseException):
            raise answer
        assert isinstance(answer, PartDone)
        return answer


def _serve(pipe: Connection, inherited: Sequence[Connection], worker: Worker, store: Store) -> None:
    for other in inherited:
        other.close()  # else the pipes of a killed parent would stay open through its children
    store.forget_lock()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears of it and ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = os.getppid()
    while True:
        try:
            part = pipe.recv()
        except EOFError:
            return
        try:
            done, contents = encode(worker, part)
            if os.getppid() != parent:
                return
            store.write_part(part.number, contents)
            pipe.send(done)
        except VdnnsimError as error:
            pipe.send(error)
        except BrokenPipeError:
            return
