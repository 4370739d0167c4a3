"""Several GPUs of one host as axes: every number is that of the slowest GPU, as `compare_together` has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdnnsim import InvalidFile, compare_together, make_study
from vdnnsim.sweep.engines import Engine
from vdnnsim.sweep.grid import Grid
from vdnnsim.sweep.hosts import load_topologies
from vdnnsim.sweep.points import Assignment, Worker
from vdnnsim.sweep.sources import load_sources, policy_digests
from vdnnsim.sweep.spec import parse_spec

SPEC = """
schema = 1
[axes]
network = "alexnet"
batch = 128
gpu = "titan-x-maxwell"
policy = "vdnn-all(p)"
topology = ["none", "a100-dual-socket", "gh200"]
gpus = [1, 2, 6]
start = ["together", "staggered"]
"""


def test_points_on_hosts_are_those_of_the_slowest_gpu() -> None:
    spec = parse_spec(SPEC)
    size = Grid(spec).size()
    sources = load_sources(spec, size.studies)
    digests = policy_digests(["vdnn-all(p)"])
    worker = Worker(Assignment(spec, sources, digests, Engine.AUTO, "1.2.3", load_topologies(spec)))
    rows = worker.table(0, size.raw_points).to_pylist()
    study = make_study("alexnet", batch=128, gpu="titan-x-maxwell")
    alone_ns = study.run("vdnn-all(p)").result.iteration_time_ns
    hashes = set()
    for row in rows:
        gpus, name = row["gpus"], row["topology"]
        hashes.add(row["point_hash"])
        if gpus > (4 if name == "gh200" else 1 if name == "none" else 8):
            assert row["status"] == "failed"
            assert row["reason"] == (
                "gpus: found 6, expected from 1 to the 4 of topology gh200"
                if name == "gh200"
                else f"gpus: found {gpus}, expected 1 without a topology"
            )
            continue
        if name == "none":
            assert (row["iteration_time_ns"], row["engine"]) == (alone_ns, "vectorised")
            continue
        [run] = compare_together(study, gpus, name, ["vdnn-all(p)"], start=row["start"]).runs
        slowest = run.slowest.result
        assert (row["iteration_time_ns"], row["stall_ns"]) == (slowest.iteration_time_ns, slowest.stall_ns)
        assert row["engine"] == "reference"
    assert len(rows) == 18
    assert len(hashes) == 17  # one GPU by itself is the same whenever it begins


def test_points_that_several_gpus_cannot_run_fail_and_the_others_go_on(tmp_path: Path) -> None:
    """Nobody knows what a drive does that several GPUs share; one by itself on a host has it to itself."""
    (tmp_path / "own.toml").write_text(
        'schema = 1\nbase = "titan-x-maxwell"\ntitle = "own"\n'
        '[nvme]\nwrite = "9 GB/s"\nread = "9 GB/s"\nprovenance = "modelled"\nsource = "a test"\n'
    )
    policy = "ssdtrain(min_elements=0, place=nvme)"
    text = SPEC.replace("titan-x-maxwell", str(tmp_path / "own.toml")).replace("vdnn-all(p)", policy)
    spec = parse_spec(text.replace('["none", "a100-dual-socket", "gh200"]', '["none", "gh200"]').replace(", 6]", "]"))
    size = Grid(spec).size()
    assignment = Assignment(
        spec, load_sources(spec, size.studies), policy_digests([policy]), Engine.AUTO, "1.2.3", load_topologies(spec)
    )
    rows = Worker(assignment).table(0, size.raw_points).to_pylist()
    assert len({row["iteration_time_ns"] for row in rows if row["gpus"] == 1}) == 1
    assert all(row["nvme_bytes"] == row["offloaded_bytes"] > 0 for row in rows if row["gpus"] == 1)
    reasons = [row["reason"] for row in rows if row["topology"] == "gh200" and row["gpus"] == 2]
    assert reasons == ["gpus: found 2 and tensors on NVMe, expected one GPU: what shares a drive is not modelled"] * 2


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ('"gh200"]', '"gh2000"]', "axes.topology: unknown topology 'gh2000'"),
        ("gpus = [1, 2, 6]", "gpus = [1, 9]", "axes.gpus: found 9; expected at most the 8 of the largest topology"),
        ('topology = ["none", "a100-dual-socket", "gh200"]\n', "", "axes.gpus: found 2; expected a topology beside it"),
        ('start = ["together", "staggered"]', 'start = "late"', "axes.start: found 'late'; expected one of: together"),
    ],
)
def test_hosts_that_there_are_not_are_told_with_their_line(line: str, wrong: str, message: str) -> None:
    with pytest.raises(InvalidFile) as found:
        load_topologies(parse_spec(SPEC.replace(line, wrong)))
    assert message in str(found.value)
    assert len(str(found.value).splitlines()) == 1
