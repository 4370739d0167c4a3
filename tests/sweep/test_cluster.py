"""A real scheduler and two workers on this machine: the same points, and what happens when a worker or all are lost."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.examples import thorough
from support.sweeps import MANY, MANY_POINTS, SMALL, run, start, write_spec
from vdnnsim.sweep.reading import read_status, read_sweep


class Cluster:
    """A scheduler and workers, as `dask scheduler` and `dask worker` start them."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        self._wait_for_the_scheduler()

    def _wait_for_the_scheduler(self) -> None:
        """Its first start in a fresh installation takes a while: all of dask is compiled."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"no scheduler at {self.address} after a minute")

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--no-dashboard"]
        log = (self.folder / f"{module}-{len(self.workers)}.log").open("wb")
        with log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)

    def add_worker(self) -> None:
        arguments = (self.address, "--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))
        self.workers.append(self._start("dask_worker", *arguments))

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """For both tests: the first takes a worker, the second all that there is."""
    cluster = Cluster(tmp_path_factory.mktemp("dask"))
    try:
        for _ in range(2):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.close()


def points_of(folder: Path) -> list[int]:
    return [int(point) for point in read_sweep(folder, ["point"])["point"]]


def test_two_workers_write_what_this_machine_writes_and_one_may_be_lost(cluster: Cluster, tmp_path: Path) -> None:
    """The first worker is killed in the middle of the sweep: the other does its points, none is missing or double."""
    spec = write_spec(tmp_path, MANY)
    out = tmp_path / "out"
    process = start("sweep", spec, "--out", out, "--cluster", cluster.address, "--engine", "reference")
    deadline = time.monotonic() + 30
    while len(list(out.glob("points/part-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert 0 < read_status(out).done < MANY_POINTS
    cluster.workers[0].send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert points_of(out) == list(range(MANY_POINTS))
    code, _, err = run("sweep", spec, "--out", tmp_path / "here", "--engine", "reference", "--jobs", 1)
    assert code == 0, err
    names = sorted(path.name for path in (out / "points").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "here" / "points").iterdir())
    assert all(
        (out / "points" / name).read_bytes() == (tmp_path / "here" / "points" / name).read_bytes() for name in names
    )


@thorough
def test_a_lost_cluster_is_told_and_another_goes_on(cluster: Cluster, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, MANY)
    out = tmp_path / "out"
    process = start("sweep", spec, "--out", out, "--cluster", cluster.address, "--engine", "reference")
    deadline = time.monotonic() + 30
    while len(list(out.glob("points/part-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    cluster.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "Nothing that was done is lost" in err
    assert 0 < read_status(out).done < MANY_POINTS
    assert run("sweep", spec, "--out", out, "--engine", "reference", "--resume")[0] == 0
    assert points_of(out) == list(range(MANY_POINTS))


def test_a_scheduler_that_is_not_there_is_told_before_anything_is_written(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, SMALL)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    for wrong, words in (
        (address, f"found no scheduler at {address} (Connection refused)"),
        ("127.0.0.1:8786", "found '127.0.0.1:8786', expected an address such as tcp://10.0.0.1:8786"),
    ):
        code, _, err = run("sweep", spec, "--out", tmp_path / "out", "--cluster", wrong)
        assert code == 2
        assert words in err
    assert not (tmp_path / "out").exists()
