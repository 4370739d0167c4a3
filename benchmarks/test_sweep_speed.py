"""How fast sweeps are, each number beside its limit. Run with `make bench`.

Points per second of the engines are those of what they do alone; those of sweeps include everything from reading
the spec to rows on the disk. Two cores are taken, as many as the limits speak of.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vdnnsim import make_study
from vdnnsim.machines import simulated
from vdnnsim.policies import POLICIES
from vdnnsim.study import Study
from vdnnsim.sweep import reference
from vdnnsim.sweep.axes import OWN
from vdnnsim.sweep.engines import Engine, run_points
from vdnnsim.sweep.links import LinkTable
from vdnnsim.sweep.plan import Sweep, plan_sweep
from vdnnsim.sweep.prepared import prepare
from vdnnsim.sweep.run import run_sweep
from vdnnsim.trace import Trace
from vdnnsim.units import PPM

VDNNSIM = Path(sys.executable).with_name("vdnnsim")
SPEC = """
schema = 1
[axes]
network = "vgg16"
batch = 64
gpu = "titan-x-maxwell"
link_bandwidth = {{ from = "1 GB/s", to = "300 GB/s", count = {links}, spacing = "log" }}
compute_scale = {{ from = 0.25, to = 4, count = {scales}, spacing = "log" }}
"""
"""All eight policies of vgg16: eight times links times scales."""


def spec_of(folder: Path, links: int, scales: int, together: bool = False) -> Path:
    """Links and scales are crossed, or vary `together`."""
    path = folder / f"spec-{links}-{scales}.toml"
    head = 'zip = [["link_bandwidth", "compute_scale"]]\n' if together else ""
    path.write_text(head + SPEC.format(links=links, scales=scales), encoding="utf-8")
    return path


def say(what: str, found: float, limit: float, unit: str) -> None:
    digits = ",.2f" if found < 100 else ",.0f"
    print(f"\n{what}: {found:{digits}} {unit}, limit {limit:,g}")


def slowed(study: Study) -> Study:
    """The same study with kernels that slow copies, as measured traces have them."""
    rows = [
        row._replace(copy_out_slowdown_ppm=PPM + 17_000 * (index % 11), copy_in_slowdown_ppm=PPM + 9_000 * (index % 9))
        for index, row in enumerate(study.trace.rows)
    ]
    return replace(study, trace=Trace(study.trace.header, rows))


@pytest.mark.parametrize("slow", [False, True], ids=["titan-x", "copies-slowed"])
def test_vectorised_engine(benchmark: Any, slow: bool) -> None:
    """Eight policies, 65,536 points each, in one process, without and with kernels that slow copies."""
    study = make_study("vgg16", batch=64, gpu="titan-x-maxwell")
    study = slowed(study) if slow else study
    prepared = [prepare(study, policy) for policy in POLICIES]
    bandwidths = np.linspace(1e9, 3e11, 256).astype(np.int64)
    links = LinkTable(study.gpu, bandwidths, bandwidths, np.full(256, OWN))
    scales = np.linspace(250_000, 4_000_000, 256).astype(np.int64)
    link_of, scale_of = np.divmod(np.arange(256 * 256), 256)

    def act() -> None:
        for one in prepared:
            _, engine = run_points(one, links, link_of, scales, scale_of, Engine.AUTO)
            assert engine is Engine.VECTORISED

    benchmark.pedantic(act, rounds=5, warmup_rounds=1)
    rate = len(prepared) * len(link_of) / benchmark.stats.stats.median
    say(f"vectorised engine{', copies slowed' if slow else ''}", rate, 500_000, "points/s")
    assert rate > 500_000


def machine_runs(sweep: Sweep, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often the simulated machine runs for a sweep."""
    runs = 0
    simulate = simulated.simulate

    def counting(*arguments: Any) -> Any:
        nonlocal runs
        runs += 1
        return simulate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(reference, "simulate", counting)
        run_sweep(sweep, folder, jobs=1)
    return runs


@pytest.mark.parametrize(("links", "scales"), [(750, 750), (75, 10)], ids=["together", "crossed"])
def test_reference_engine_on_two_cores(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: int, scales: int
) -> None:
    """A whole sweep through the simulated machine: all eight policies of vgg16, programs made once and used again.

    Where links and scales vary together, each point is a run of the machine with durations of its own, and what it is
    compared with, the oracle at the same point, is another. Where they are crossed, points without copies that
    differ in the link alone share one. So runs are counted, and held to the limit as points are.
    """
    sweep = plan_sweep(spec_of(tmp_path, links, scales, links == scales), Engine.REFERENCE)
    counted = machine_runs(sweep, tmp_path / "counted", monkeypatch)
    runs = iter(range(100))
    benchmark.pedantic(lambda: run_sweep(sweep, tmp_path / f"out{next(runs)}", jobs=2), rounds=3)
    points, seconds = sweep.size.points, benchmark.stats.stats.median
    what = "reference engine, two processes, links and scales " + ("together" if links == scales else "crossed")
    say(what, points / seconds, 2000, "points/s")
    say(f"  {counted} runs for {points} points", counted / seconds, 2000, "runs of the machine/s")
    assert min(points, counted) / seconds > 2000


def test_a_million_points(benchmark: Any, tmp_path: Path) -> None:
    """The command as a process of its own, all rows and hashes on the disk."""
    spec = spec_of(tmp_path, 500, 250)
    runs = iter(range(100))

    largest_mb = 0.0

    def act() -> None:
        nonlocal largest_mb
        command = [str(VDNNSIM), "sweep", str(spec), "--out", str(tmp_path / f"out{next(runs)}"), "--jobs", "2"]
        process = subprocess.Popen(command)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        largest_mb = max(largest_mb, used.ru_maxrss / 1000)

    benchmark.pedantic(act, rounds=2)
    seconds = benchmark.stats.stats.median
    say("a million points, the whole command", seconds, 30, "s")
    say("resident, twice the larger of its two processes", 2 * largest_mb, 1000, "MB")
    assert seconds < 30
    assert 2 * largest_mb < 1000


def test_start_up(benchmark: Any, tmp_path: Path) -> None:
    """From the command to the last of eight points on the disk."""
    spec = spec_of(tmp_path, 1, 1)
    spec.write_text(spec.read_text(encoding="utf-8").replace('from = "1 GB/s", to', 'from = "300 GB/s", to'))
    spec.write_text(spec.read_text(encoding="utf-8").replace("from = 0.25, to = 4", "from = 1, to = 1"))
    runs = iter(range(100))

    def act() -> None:
        subprocess.run([str(VDNNSIM), "sweep", spec, "--out", tmp_path / f"out{next(runs)}"], check=True)

    benchmark.pedantic(act, rounds=5, warmup_rounds=1)
    seconds = benchmark.stats.stats.median
    say("a sweep of eight points, the whole command", seconds, 1, "s")
    assert seconds < 1


def test_cost_per_point_is_flat(tmp_path: Path) -> None:
    """A point of a million costs no more than one of a thousand."""
    microseconds = {}
    for links, scales in ((25, 5), (125, 10), (250, 50), (500, 250)):
        sweep = plan_sweep(spec_of(tmp_path, links, scales))
        begin = time.perf_counter()
        run_sweep(sweep, tmp_path / f"out{links}", jobs=1)
        microseconds[sweep.size.points] = (time.perf_counter() - begin) / sweep.size.points * 1e6
    print("\nmicroseconds a point, one process:", {points: round(cost, 1) for points, cost in microseconds.items()})
    assert microseconds[1_000_000] < 1.2 * microseconds[1000]


@contextmanager
def cluster(folder: Path, workers: int) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    base = [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    words = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    processes = [subprocess.Popen([*base, *words], **quiet)]  # type: ignore[call-overload]
    worker = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    processes += [subprocess.Popen([*base, *worker], **quiet) for _ in range(workers)]  # type: ignore[call-overload]
    try:
        from distributed import Client

        with Client(address, timeout=20, set_as_default=False) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(workers, timeout=20)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


def test_two_dask_workers_against_one(tmp_path: Path) -> None:
    """The reference engine on a real scheduler and workers of this machine: enough runs that starting up is little."""
    sweep = plan_sweep(spec_of(tmp_path, 2500, 2500, together=True), Engine.REFERENCE)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(2):
        for workers in (1, 2):
            with cluster(tmp_path, workers) as address:
                begin = time.perf_counter()
                run_sweep(sweep, tmp_path / f"out{turn}{workers}", cluster=address)
                seconds[workers].append(time.perf_counter() - begin)
    gain = min(seconds[1]) / min(seconds[2])
    say("two dask workers against one", gain, 1.6, "times as fast")
    assert gain > 1.6
