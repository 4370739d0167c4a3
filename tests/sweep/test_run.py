"""Running into a folder: every point once, whatever came between; nothing of what was there lost."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from support.examples import tries
from support.sweeps import AT_ONCE, MANY, MANY_POINTS, SMALL, run, start, write_spec
from vdnnsim.catalog import data_directory
from vdnnsim.errors import InvalidInput
from vdnnsim.processes import Processes, finished
from vdnnsim.sweep.engines import Engine
from vdnnsim.sweep.local import Part, _run
from vdnnsim.sweep.plan import Sweep, plan_sweep
from vdnnsim.sweep.reading import read_status, read_sweep
from vdnnsim.sweep.run import Progress, run_sweep
from vdnnsim.sweep.store import Store


def small(tmp_path: Path, text: str = SMALL) -> Sweep:
    return plan_sweep(write_spec(tmp_path, text))


def points_of(folder: Path) -> list[int]:
    return [int(point) for point in read_sweep(folder, ["point"])["point"]]


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_point_is_a_row(tmp_path: Path, jobs: int) -> None:
    seen: list[Progress] = []
    progress = run_sweep(small(tmp_path), tmp_path / "out", jobs=jobs, report=seen.append)
    assert progress == Progress(90, 0, 0, 90)
    assert seen[0] == Progress(0, 0, 0, 90)
    assert seen[-1] == progress
    assert points_of(tmp_path / "out") == list(range(90))
    status = read_status(tmp_path / "out")
    assert (status.done, status.failed, status.parts_done, status.running) == (90, 0, 2, False)


def test_processes_and_this_one_write_the_same_files(tmp_path: Path) -> None:
    sweep = small(tmp_path)
    run_sweep(sweep, tmp_path / "here", jobs=1)
    there = Store(tmp_path / "there")
    parts = [Part(sweep.manifest.identity, number, *chunk) for number, chunk in enumerate(sweep.chunks)]
    with there.lock():
        there.open(sweep.manifest, sweep.spec.text, resume=False)
        with there.passing(pickle.dumps(sweep.assignment)) as path, Processes(1) as executor:
            assert len(list(finished(executor, partial(_run, path, there), parts, 2))) == 2
    one, two = (sorted((tmp_path / name / "points").iterdir()) for name in ("here", "there"))
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    assert sorted(path.name for path in there.folder.iterdir()) == [".lock", "points", "spec.toml", "sweep.json"]


def test_resuming_does_what_is_missing_and_nothing_twice(tmp_path: Path) -> None:
    sweep, out = small(tmp_path), tmp_path / "out"
    run_sweep(sweep, out, jobs=1)
    first, second = sorted((out / "points").iterdir())
    before = first.stat()
    second.unlink()
    (out / "points" / ".part-0000001.parquet.k3h.parquet").write_bytes(b"half")
    assert run_sweep(sweep, out, jobs=1, resume=True) == Progress(26, 0, 64, 90)
    after = first.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert points_of(out) == list(range(90))
    assert len(list((out / "points").iterdir())) == 2
    assert run_sweep(sweep, out, jobs=2, resume=True) == Progress(0, 0, 90, 90)


@pytest.mark.parametrize("damage", [b"", b"PAR1", "cut", "fewer"])
def test_a_damaged_part_is_done_again(tmp_path: Path, damage: bytes | str) -> None:
    sweep, out = small(tmp_path), tmp_path / "out"
    run_sweep(sweep, out, jobs=1)
    part = out / "points" / "part-0000000.parquet"
    whole = part.read_bytes()
    if damage == "fewer":
        pq.write_table(pq.read_table(part).slice(1), part)
    else:
        part.write_bytes(
            whole[: len(whole) // 2]
            if damage == "cut"
            else bytes(damage, "ascii")
            if isinstance(damage, str)
            else damage
        )
    assert read_status(out).done == 26
    assert run_sweep(sweep, out, jobs=1, resume=True) == Progress(64, 0, 26, 90)
    assert part.read_bytes() == whole


def test_filters_leave_gaps_and_empty_parts(tmp_path: Path) -> None:
    sweep = small(tmp_path, "filters = [\"policy == 'oracle' and compute_scale < 2\"]\n" + SMALL)
    assert sweep.manifest.parts == (3, 17)
    assert run_sweep(sweep, tmp_path / "out", jobs=1) == Progress(20, 0, 0, 20)
    assert len(points_of(tmp_path / "out")) == 20
    empty = small(tmp_path, "filters = [\"policy == 'vdnn-all(p)' and compute_scale < 2\"]\n" + SMALL)
    assert empty.manifest.parts == (20, 0)
    assert run_sweep(empty, tmp_path / "other", jobs=1) == Progress(20, 0, 0, 20)
    assert run_sweep(empty, tmp_path / "other", jobs=1, resume=True) == Progress(0, 0, 20, 20)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    sweep, out = small(tmp_path), tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidInput, match="found a folder with other files"):
        run_sweep(sweep, out, jobs=1)
    with pytest.raises(InvalidInput, match="found a folder with other files"):
        run_sweep(sweep, out, jobs=1, resume=True)
    assert (out / "thesis.txt").read_text(encoding="utf-8") == "mine"
    run_sweep(sweep, tmp_path / "done", jobs=1)
    with pytest.raises(InvalidInput, match="found a sweep already; add --resume"):
        run_sweep(sweep, tmp_path / "done", jobs=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "0.0.9"}, "was begun with vdnnsim 0.0.9"),
        ({"engine": "reference"}, "was begun with --engine reference"),
        ({"digest": "0"}, "differs from this one in what cannot be told: it was begun without a list of its inputs"),
    ],
)
def test_what_changed_is_noticed(tmp_path: Path, change: dict[str, str], words: str) -> None:
    sweep, out = small(tmp_path), tmp_path / "out"
    begun = replace(sweep.manifest, inputs={}, **change)  # type: ignore[arg-type]
    run_sweep(replace(sweep, manifest=begun), out, jobs=1)
    with pytest.raises(InvalidInput, match=words):
        run_sweep(sweep, out, jobs=1, resume=True)


def test_a_spec_written_otherwise_is_the_same_sweep(tmp_path: Path) -> None:
    run_sweep(small(tmp_path), tmp_path / "out", jobs=1)
    same = 'title = "again"\n' + SMALL.replace("[0.5, 1, 2.5]", "[0.5, 1.0, 2.5]").replace('"4 GB/s"', '"4000 MB/s"')
    assert run_sweep(small(tmp_path, same), tmp_path / "out", jobs=1, resume=True).done == 0
    other = SMALL.replace("2.5", "2.6")
    with pytest.raises(InvalidInput, match=r"differs from this one in axes\.compute_scale; its rows"):
        run_sweep(small(tmp_path, other), tmp_path / "out", jobs=1, resume=True)
    other = 'filters = ["compute_scale < 2"]\n' + SMALL.replace('"alexnet"', '["alexnet", "googlenet"]')
    with pytest.raises(InvalidInput, match=r"differs from this one in axes\.network, filters; its rows"):
        run_sweep(small(tmp_path, other), tmp_path / "out", jobs=1, resume=True)


OWN_POLICY = """
from vdnnsim.policies import make_policy


class Mine:
    name = "mine"

    def check(self, problem):
        pass

    def plan(self, problem):
        return make_policy("vdnn-conv(p)").plan(problem)
"""


def test_a_file_that_changed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy's module, then a trace: the spec stays as it is."""
    titan = "titan-x-maxwell"
    (tmp_path / "mine" / titan).mkdir(parents=True)
    for path in (data_directory("traces") / titan).glob("alexnet_b128_fp32*"):
        shutil.copy(path, tmp_path / "mine" / titan)
    module = tmp_path / "changing_policy.py"
    module.write_text(OWN_POLICY, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = 'traces = ["mine"]\n' + SMALL.replace('"oracle"]', '"changing_policy:Mine"]')
    out = tmp_path / "out"
    run_sweep(small(tmp_path, text), out, jobs=1)
    assert run_sweep(small(tmp_path, text), out, jobs=1, resume=True).done == 0

    def refused() -> str:
        with pytest.raises(InvalidInput) as error:
            run_sweep(small(tmp_path, text), out, jobs=1, resume=True)
        return str(error.value)

    with module.open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert "differs from this one in policy changing_policy:Mine; its rows" in refused()
    (table,) = (tmp_path / "mine" / titan).glob("*.csv")
    lines = table.read_text(encoding="utf-8").splitlines()
    place = lines[0].split(",").index("duration_ns")
    fields = lines[-1].split(",")
    fields[place] = str(int(fields[place]) + 1)
    table.write_text("\n".join([*lines[:-1], ",".join(fields)]) + "\n", encoding="utf-8")
    assert "in trace of alexnet (128) on titan-x-maxwell, fp32, policy changing_policy:Mine; its rows" in refused()


def test_a_manifest_that_is_damaged_or_missing_is_told(tmp_path: Path) -> None:
    sweep, out = small(tmp_path), tmp_path / "out"
    run_sweep(sweep, out, jobs=1)
    with pytest.raises(InvalidInput, match=r"found no sweep\.json"):
        read_status(tmp_path)
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 2}'):
        (out / "sweep.json").write_text(text, encoding="utf-8")
        with pytest.raises(InvalidInput, match=r"sweep\.json"):
            read_status(out)


def test_two_runs_into_one_folder_do_not_meet(tmp_path: Path) -> None:
    sweep, out = small(tmp_path), tmp_path / "out"
    with Store(out).lock(), pytest.raises(InvalidInput, match="another process is writing into it"):
        run_sweep(sweep, out, jobs=1)
    assert run_sweep(sweep, out, jobs=1).done == 90


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    """Files may not grow beyond a few bytes: the write fails as on a disk without room."""
    sweep, out = small(tmp_path), tmp_path / "out"
    run_sweep(sweep, out, jobs=1)
    first, second = sorted((out / "points").iterdir())
    kept = first.read_bytes()
    second.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(
            InvalidInput, match="Nothing that was done is lost: make room, then run again with --resume"
        ):
            run_sweep(sweep, out, jobs=1, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in (out / "points").iterdir()] == [first.name]
    assert first.read_bytes() == kept
    assert run_sweep(sweep, out, jobs=1, resume=True) == Progress(26, 0, 64, 90)


def test_a_full_disk_is_told_by_the_command_as_well(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, SMALL)
    out = tmp_path / "out"
    code, _, err = run("sweep", spec, "--out", out, "--jobs", 2)
    assert code == 0, err
    for part in (out / "points").iterdir():
        part.unlink()
    limited = f"ulimit -f 1; trap '' XFSZ; exec {' '.join(_quoted(word) for word in _command(spec, out))}"
    assert os.system(f"bash -c {_quoted(limited)} 2> {tmp_path}/err > /dev/null") >> 8 == 2
    text = (tmp_path / "err").read_text(encoding="utf-8")
    assert "File too large" in text
    assert "--resume" in text
    assert list((out / "points").glob("part-*")) == []
    assert run("sweep", spec, "--out", out, "--resume")[0] == 0
    assert points_of(out) == list(range(90))


def _command(spec: Path, out: Path) -> list[str]:
    from support.sweeps import COMMAND

    return [*COMMAND, "sweep", str(spec), "--out", str(out), "--jobs", "2", "--resume"]


def _quoted(word: str) -> str:
    import shlex

    return shlex.quote(word)


def test_kill_9_at_any_moment_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """Killed again and again, a random while after a random number of new parts (none: while it starts), and resumed in
    between: parts that were there stay as they were."""
    spec = write_spec(tmp_path, MANY)
    out = tmp_path / "out"
    moments = random.Random(2)
    complete = plan_sweep(spec, Engine.REFERENCE).manifest.parts
    kept: dict[str, int] = {}
    killed_halfway = 0
    for _ in range(tries(3)):
        process = start("sweep", spec, "--out", out, "--jobs", 2, "--engine", "reference", "--resume")
        wanted = len(kept) + moments.randint(0, 6)
        while len(list(out.glob("points/part-*"))) < wanted and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.1))
        with contextlib.suppress(ProcessLookupError):  # it may have come to its end by itself
            os.killpg(process.pid, signal.SIGKILL) if moments.random() < 0.5 else process.kill()
        process.communicate()
        parts = {path.name: path.stat().st_mtime_ns for path in (out / "points").glob("part-*")}
        assert {name: parts[name] for name in kept} == kept
        kept = parts
        for name in parts:
            assert pq.read_metadata(out / "points" / name).num_rows == complete[int(name[5:12])]
        killed_halfway += 0 < len(parts) < len(complete)
        if len(parts) == len(complete):
            break
    assert killed_halfway
    code, _, err = run("sweep", spec, "--out", out, "--jobs", 2, "--engine", "reference", "--resume")
    assert code == 0, err
    assert points_of(out) == list(range(MANY_POINTS))
    assert not list((out / "points").glob(".*"))
    assert {path.name: path.stat().st_mtime_ns for path in (out / "points").iterdir() if path.name in kept} == kept


def workers_of(process: subprocess.Popen[str], count: int) -> list[int]:
    """Its workers, once there are so many."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found: list[int] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        children = path.read_text(encoding="ascii").split() if path.exists() else []
        found = [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text("utf-8")]
        time.sleep(0.01)
    assert len(found) == count
    return found


def test_a_killed_worker_ends_the_run_with_advice(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, SMALL)
    out = tmp_path / "out"
    process = start("sweep", spec, "--out", out, "--jobs", 2, "--engine", "reference")
    os.kill(workers_of(process, 1)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "ended with code -9" in err
    assert "run again with --resume" in err
    assert run("sweep", spec, "--out", out, "--resume", "--engine", "reference")[0] == 0
    assert points_of(out) == list(range(90))


def test_workers_of_a_killed_sweep_end(tmp_path: Path) -> None:
    long = write_spec(tmp_path, MANY.replace("count = 125", "count = 1000"))
    process = start("sweep", long, "--out", tmp_path / "out", "--jobs", 2, "--engine", "reference")
    workers = workers_of(process, 1)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]


def test_where_interrupts_are_ignored_they_are_ignored_by_workers_too(tmp_path: Path) -> None:
    """As under nohup. Whoever starts workers starts them in one place."""
    words = ("sweep", write_spec(tmp_path, SMALL), "--jobs", 2, "--engine", "reference")
    process = start(*words, "--out", tmp_path / "out", interrupts=signal.SIG_IGN)
    for worker in workers_of(process, 1):
        os.kill(worker, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_a_script_without_a_guard_is_told_what_to_do(tmp_path: Path) -> None:
    write_spec(tmp_path, SMALL)
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        f"{AT_ONCE}\n"
        "from vdnnsim.sweep import Engine, plan_sweep, run_sweep\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "run_sweep(plan_sweep(folder / 'spec.toml', Engine.REFERENCE), folder / 'out', jobs=2)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert "WorkerEnded: workers cannot start; in a script, call this under: if __name__ == '__main__':" in done.stderr


def test_working_points_out_does_without_pandas(tmp_path: Path) -> None:
    """Its import takes half a second, in every process; pyarrow imports it where it is asked to look at an array."""
    write_spec(tmp_path, SMALL)
    code = (
        "import sys\n"
        "from vdnnsim.cli import main\n"
        "sys.argv = ['vdnnsim', 'sweep', 'spec.toml', '--out', 'out', '--jobs', '1']\n"
        "try: main()\n"
        "finally: print('pandas' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "False", done.stderr
    assert read_status(tmp_path / "out").done == 90


def test_an_interrupt_leaves_what_was_done(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, MANY)
    out = tmp_path / "out"
    process = start("sweep", spec, "--out", out, "--jobs", 2, "--engine", "reference")
    deadline = time.monotonic() + 20
    while not list(out.glob("points/part-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    status = read_status(out)
    assert 0 < status.done < MANY_POINTS
    assert not status.running
    assert f"interrupted; {status.done} of {MANY_POINTS} points are done, go on with --resume" in err
    assert err.count("interrupted") == 1
