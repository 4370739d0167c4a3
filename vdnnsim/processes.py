"""Work on all cores of this machine: one way for the whole project.

Processes are spawned: each begins as a new Python that imports what it needs. A fork would begin at once, with all that
was read, but it copies the locks of other threads without the threads that would release them, and a child stops for
ever at the first of these. Threads are there before we begin: those of NumPy, of pyarrow, of a notebook. Python warns
of such forks from 3.12 on; macOS and Windows do not fork. The price is the imports, half a second for each process.

Jobs go to any `concurrent.futures.Executor`, a cluster's too; results come back as they get done. They are short: a
message that a killed process leaves half sent would be waited for without end.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from vdnnsim.errors import InvalidInput
from vdnnsim.garbage import collect_seldom

Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerEnded(InvalidInput):
    """A process ended before its job was done; ``args`` is (message,)."""


class Watch(NamedTuple):
    """What is asked when no result came for so many seconds; it may raise."""

    patience_s: float
    still_there: Callable[[], None]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Processes(ProcessPoolExecutor):
    """An executor of so many processes. They end with the `with` block, where it fails as soon as each is through with
    its job, and with this process, however that ends. Where Ctrl-C is ignored, as under nohup, they ignore it too."""

    def __init__(self, count: int) -> None:
        super().__init__(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_simulating)
        self._others = set(multiprocessing.active_children())
        self._own: set[multiprocessing.process.BaseProcess] = set()

    def submit(self, call: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Future[Result]:
        with interrupts_put_off():  # processes are started here; one that is loading would print a traceback
            future = super().submit(call, *args, **kwargs)
            self._own |= set(multiprocessing.active_children()) - self._others
        return future

    def __exit__(self, *_: object) -> None:
        self.shutdown(cancel_futures=True)

    def why_ended(self, any_result: bool) -> WorkerEnded:
        """When it is broken, as far as one can see: the others are terminated as soon as one has ended."""
        for process in self._own:
            process.join(timeout=5)
            if (code := process.exitcode) is not None and code < 0 and code != -signal.SIGTERM:
                return WorkerEnded(f"worker {process.pid} ended with code {code} (out of memory, or killed)")
        if any_result:
            return WorkerEnded("a worker ended")
        return WorkerEnded("workers cannot start; in a script, call this under: if __name__ == '__main__':")


def finished(
    executor: Executor,
    call: Callable[[Job], Result],
    jobs: Iterable[Job],
    ahead: int,
    watch: Watch | None = None,
    here: Callable[[Job], Result] | None = None,
) -> Iterator[tuple[Job, Result]]:
    """Each job with its result, in the order in which they get done; no more than `ahead` are given out at a time.
    Those beyond are done in this process meanwhile, one after the other, where `here` says how.

    Raises what a job or the watch raises, and `WorkerEnded`.
    """
    waiting = iter(jobs)
    pending: dict[Future[Result], Job] = {}
    any_result = False
    try:
        while True:
            for job in islice(waiting, ahead - len(pending)):
                pending[executor.submit(call, job)] = job
            if not pending:
                return
            patience_s = watch and watch.patience_s
            if here:
                for job in islice(waiting, 1):
                    patience_s = 0
                    yield job, here(job)
            done = wait(pending, timeout=patience_s, return_when=FIRST_COMPLETED).done
            if not done and watch:
                watch.still_there()
            for future in done:
                result = future.result()
                any_result = True
                yield pending.pop(future), result
    except BrokenProcessPool:
        if isinstance(executor, Processes):
            raise executor.why_ended(any_result) from None
        raise


@contextmanager
def interrupts_put_off() -> Iterator[None]:
    """Ctrl-C reaches this thread at the end of the block, and processes started in it not at all until they ask."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker() -> None:
    """In a worker: Ctrl-C ends it at once and without a traceback; the parent is told as well, and speaks."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _begin_simulating() -> None:
    begin_worker()
    collect_seldom()


def _end_with_parent() -> None:
    """A worker of a parent that was killed would wait for its next job for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
