"""Parts worked out on a dask cluster. Its workers need the installed package and nothing else: what points are made of
travels with them, rows travel back, and the process that started the sweep writes them."""

from __future__ import annotations

import pickle
import re
import socket
from collections.abc import Generator, Sequence
from concurrent.futures import CancelledError
from functools import lru_cache, partial
from importlib.metadata import version
from typing import Any

from vdnnsim.errors import InvalidInput
from vdnnsim.processes import Watch, finished
from vdnnsim.sweep.local import Part, PartDone, encode
from vdnnsim.sweep.points import Assignment, Worker
from vdnnsim.sweep.store import Store

_ADDRESS = re.compile(r"(tcp|tls)://([^/\s]+):([0-9]{1,5})", re.ASCII)
_CONNECT_S = 10
_WITHOUT_WORKERS_S = 30
_PARTS_AHEAD = 3
"""Parts that wait on the cluster for each of its threads, so that none is idle while rows travel."""


class Cluster:
    """The scheduler at an address such as tcp://10.0.0.1:8786. Raises `InvalidInput` where there is none, or it has no
    workers, or workers with another version of the package."""

    def __init__(self, address: str) -> None:
        self._distributed = _distributed()
        self._address = address
        _reach(address)
        try:
            self._client = self._distributed.Client(address, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise _no_scheduler(address, type(error).__name__) from None

    def __enter__(self) -> Cluster:
        try:
            self._check_workers()
        except InvalidInput:
            self._client.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _check_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=_CONNECT_S)
        except TimeoutError:
            raise InvalidInput(
                f"cluster: found no workers at {self._address}, expected one or more; start some with: "
                f"dask worker {self._address} --nthreads 1"
            ) from None
        own = version("vdnnsim")
        try:
            versions = self._client.run(_installed_version)
        except Exception as error:  # whatever a worker's Python raises where the package is missing or broken
            raise InvalidInput(
                f"cluster: a worker cannot load vdnnsim ({error}); install vdnnsim {own} on every worker"
            ) from None
        for worker, found in versions.items():
            if found != own:
                raise InvalidInput(
                    f"cluster: found vdnnsim {found} on worker {worker}, expected {own} as here; install it there"
                )

    def run(self, assignment: Assignment, parts: Sequence[Part], store: Store) -> Generator[PartDone]:
        """The parts as they get done, in any order. The scheduler gives the parts of a lost worker to others; raises
        `InvalidInput` when none are left."""
        threads = max(1, sum(int(threads) for threads in self._client.nthreads().values()))
        executor = self._client.get_executor(pure=False, retries=2)
        call = partial(_encode, pickle.dumps(assignment))
        watch = Watch(_WITHOUT_WORKERS_S, self._still_there)
        try:
            for part, (done, contents) in finished(executor, call, parts, _PARTS_AHEAD * threads, watch):
                store.write_part(part.number, contents)
                yield done
        except CancelledError:
            raise self._lost("the connection is lost") from None
        except self._distributed.KilledWorker as error:
            raise self._lost(f"workers were killed again and again at the same points: {error}") from None

    def _still_there(self) -> None:
        try:
            workers = self._client.nthreads()
        except (OSError, TimeoutError):
            workers = {}
        if not workers:
            raise self._lost("all workers, or the scheduler, are gone")

    def _lost(self, why: str) -> InvalidInput:
        return InvalidInput(
            f"cluster at {self._address}: {why}. Nothing that was done is lost: start workers, "
            "then run again with --resume"
        )


def _reach(address: str) -> None:
    """Dask would go on trying; a door that is closed is told at once."""
    place = _ADDRESS.fullmatch(address)
    if place is None:
        raise InvalidInput(f"cluster: found '{address}', expected an address such as tcp://10.0.0.1:8786")
    try:
        socket.create_connection((place[2].strip("[]"), int(place[3])), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _no_scheduler(address, getattr(error, "strerror", None) or str(error)) from None


def _no_scheduler(address: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"cluster: found no scheduler at {address} ({why}), expected one; start it with: dask scheduler"
    )


def _encode(assignment: bytes, part: Part) -> tuple[PartDone, bytes]:
    """On a worker."""
    return encode(_worker(assignment), part)


@lru_cache(maxsize=1)
def _worker(assignment: bytes) -> Worker:
    """One for all parts of a process: it keeps the programs that it made."""
    return Worker(pickle.loads(assignment))


def _installed_version() -> str:
    return version("vdnnsim")


def _distributed() -> Any:
    try:
        import distributed
    except ImportError:
        raise InvalidInput("--cluster: found no dask, expected it; pip install 'dask[distributed]'") from None
    return distributed
