"""Rows: every number of a point is the one that `vdnnsim compare` would show for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vdnnsim.captured import BlockClass
from vdnnsim.comparing import compare, compare_policies
from vdnnsim.gpu import load_profile, profile_file
from vdnnsim.iteration import MemoryClass
from vdnnsim.making import make_study
from vdnnsim.policies import POLICIES, Plan, Policy, Problem, make_plan, make_policy
from vdnnsim.policies.variants import Variant
from vdnnsim.policies.vdnn_conv import VdnnConv
from vdnnsim.result_rows import power_fields
from vdnnsim.study import Study
from vdnnsim.sweep.axes import OWN
from vdnnsim.sweep.columns import COLUMNS, class_column, loss_column
from vdnnsim.sweep.engines import Engine
from vdnnsim.sweep.grid import Grid
from vdnnsim.sweep.links import LinkTable, point_gpu
from vdnnsim.sweep.points import Assignment, Worker
from vdnnsim.sweep.sources import load_sources, policy_digests
from vdnnsim.sweep.spec import parse_spec
from vdnnsim.trace import Provenance, scaled_trace

SPEC = """
filters = ["link_bandwidth != '400 GB/s' or policy == 'vdnn-dyn'"]
schema = 1
[axes]
network = ["alexnet", "vgg16"]
batch = 128
gpu = "titan-x-maxwell"
pool = ["best-fit", "pytorch-caching"]
capacity = ["900 MB", "9 GB", "12 GB"]
link_bandwidth = ["3 GB/s", "50 GB/s", "400 GB/s"]
link_latency = ["1 us", "200 us"]
compute_scale = [0.3, 1, 7]
"""


def rows_of(text: str, engine: Engine = Engine.AUTO, file: str = "spec.toml") -> list[dict[str, Any]]:
    spec = parse_spec(text, file)
    size = Grid(spec).size()
    policies = policy_digests([str(name) for name in spec.axes["policy"]])
    worker = Worker(Assignment(spec, load_sources(spec, size.studies), policies, engine, "1.2.3"))
    rows: list[dict[str, Any]] = worker.table(0, size.raw_points).to_pylist()
    assert len(rows) == size.points
    return rows


@cache
def all_rows() -> list[dict[str, Any]]:
    """Those of `SPEC`, worked out once."""
    return rows_of(SPEC)


def expected_numbers(study: Study, policy: str) -> dict[str, Any]:
    """As the package's main road has them."""
    run = compare_policies(study, [policy]).runs[0]
    result, inner = run.result, run.result.feature_extraction
    best = compare_policies(study, ["oracle"]).results[0]
    bound = result.verdict.split("-bound")[0]
    return {
        "trainable": result.trainable,
        "reason": result.reason,
        "needed_bytes": result.needed_bytes,
        "iteration_time_ns": result.iteration_time_ns,
        "oracle_time_ns": best.iteration_time_ns,
        "performance": result.performance,
        "stall_ns": result.stall_ns,
        "kernel_ns": sum(layer.kernel_ns for layer in result.layers),
        **dict(power_fields(result)),
        **{loss_column(part): part_ns for part, part_ns in result.loss._asdict().items()},
        "bound": bound,
        "peak_bytes": result.peak_bytes,
        "average_bytes": result.average_bytes,
        "average_bytes_per_step": result.average_bytes_per_step,
        "pool_high_water_bytes": result.pool_high_water_bytes,
        "largest_hole_bytes": result.largest_hole_bytes,
        **{class_column(name): size for name, size in result.bytes_by_class_at_peak.items()},
        "offloaded_bytes": result.offloaded_bytes,
        "prefetched_bytes": result.prefetched_bytes,
        "pinned_host_bytes": result.pinned_host_bytes,
        "nvme_bytes": result.nvme_bytes,
        "deferred_prefetches": result.deferred_prefetches,
        "feature_extraction_time_ns": inner.iteration_time_ns,
        "feature_extraction_performance": inner.performance,
        "feature_extraction_stall_ns": inner.stall_ns,
        "feature_extraction_peak_bytes": inner.peak_bytes,
        "feature_extraction_average_bytes": inner.average_bytes,
        "feature_extraction_average_bytes_per_step": inner.average_bytes_per_step,
    }


def study_of(row: Mapping[str, Any]) -> Study:
    study = make_study(
        row["network"], batch=row["batch"], gpu=row["gpu"], capacity=row["capacity_bytes"], pool=row["pool"]
    )
    bandwidth, latency = (row[name] if row[name] is not None else OWN for name in _LINK)
    gpu = point_gpu(study.gpu, bandwidth, bandwidth, latency)
    return replace(study, gpu=gpu, trace=scaled_trace(study.trace, row["compute_scale_ppm"]))


_LINK = ("link_bandwidth_bytes_per_s", "link_latency_ns")


def test_rows_are_what_compare_shows() -> None:
    rows = all_rows()
    assert [row["point"] for row in rows] == sorted({row["point"] for row in rows})
    good = [row for row in rows if row["status"] == "ok"]
    assert {row["trainable"] for row in good} == {True, False}
    assert {row["bound"] for row in good} == {"algorithm", "compute", "host", "link", "memory"}
    for row in good[:: len(good) // 60]:
        wanted = expected_numbers(study_of(row), row["policy"])
        assert {name: row[name] for name in wanted} == wanted
        assert (row["engine"], row["vdnnsim_version"], row["trace_batch"]) == ("vectorised", "1.2.3", "128")


def test_both_engines_write_the_same_rows() -> None:
    text = SPEC.replace('["alexnet", "vgg16"]', '"alexnet"').replace("[0.3, 1, 7]", "0.3")
    fast, slow = rows_of(text), rows_of(text, Engine.REFERENCE)
    assert {row.pop("engine") for row in fast} == {"vectorised", None}
    assert {row.pop("engine") for row in slow} == {"reference", None}
    assert fast == slow


def test_a_link_that_cannot_be_fails_its_points_only() -> None:
    rows = all_rows()
    failed = [row for row in rows if row["status"] == "failed"]
    assert {row["link_bandwidth_bytes_per_s"] for row in failed} == {400 * 10**9}
    assert len(failed) == 2 * 2 * 3 * 2 * 3
    assert "faster" in failed[0]["reason"] or "at most the 336.00 GB/s" in failed[0]["reason"]
    assert all(row["iteration_time_ns"] is None and row["point_hash"] for row in failed)


def test_every_column_is_described_and_filled() -> None:
    row = next(row for row in all_rows() if row["status"] == "ok")
    assert list(row) == [column.name for column in COLUMNS]
    networks, steps = ({class_column(kind.value) for kind in classes} for classes in (MemoryClass, BlockClass))
    of_captured_steps = steps - networks
    not_asked = {"pinned_budget_bytes", "link_bandwidth_out_bytes_per_s", "link_bandwidth_in_bytes_per_s"}
    assert {name for name, value in row.items() if value is None and name not in of_captured_steps} == not_asked
    for column in COLUMNS:
        assert column.meaning
        if column.name.endswith(("_ns", "_bytes", "_ppm")):
            assert column.unit


def test_hashes_are_of_content() -> None:
    rows = all_rows()
    assert len({row["point_hash"] for row in rows}) == len(rows)
    hashes = {_inputs(row): row["point_hash"] for row in rows}
    other = rows_of(SPEC.replace('["900 MB", "9 GB", "12 GB"]', '["12 GB", "5 GB"]'))
    again = [row for row in other if row["capacity_bytes"] == 12 * 10**9]
    assert again
    assert all(hashes[_inputs(row)] == row["point_hash"] for row in again)


def _inputs(row: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("network", "pool", "policy", "capacity_bytes", *_LINK, "compute_scale_ppm")
    return tuple(row[name] for name in names)


def test_what_nobody_timed_is_labelled_modelled() -> None:
    text = 'schema = 1\n[axes]\nnetwork = "alexnet"\nbatch = 128\ngpu = "titan-x-maxwell"\ncapacity = ["12 GB"]\n'
    own = rows_of(text + 'policy = "vdnn-all(p)"\n')
    assert own[0]["provenance"] == compare_policies(study_of(own[0]), ["vdnn-all(p)"]).provenance.value
    for other in ('link_bandwidth = "20 GB/s"\n', "compute_scale = 2\n"):
        assert rows_of(text + 'policy = "vdnn-all(p)"\n' + other)[0]["provenance"] == Provenance.MODELLED.value


class LinkLooker(VdnnConv):
    """Offloads behind a fast link only: its plans depend on the point."""

    def __init__(self) -> None:
        super().__init__(Variant.P)

    @property
    def name(self) -> str:
        return "link-looker"

    def plan(self, problem: Problem) -> Plan:
        plan = super().plan(problem)
        fast = problem.gpu.link.copy_out.bandwidth_bytes_per_s > 10**10
        slow_kernels = max(row.duration_ns for row in problem.trace.rows) > 10**8
        return plan if fast or slow_kernels else make_plan(problem, plan.layout, (), plan.algorithms)


class Broken:
    name = "broken"

    def check(self, problem: Problem) -> None:
        if problem.gpu.capacity_bytes < 10**10:
            raise ZeroDivisionError("no good")

    def plan(self, problem: Problem) -> Plan:
        return LinkLooker().plan(problem)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "own_policies", sys.modules[__name__])
    return "own_policies"


def test_a_users_policy_plans_anew_for_each_point(here: str) -> None:
    rows = rows_of(
        f'schema = 1\n[axes]\nnetwork = "alexnet"\nbatch = 128\ngpu = "titan-x-maxwell"\npolicy = "{here}:LinkLooker"\n'
        'link_bandwidth = ["5 GB/s", "20 GB/s"]\ncompute_scale = [0.1, 1]\n'
    )
    assert [row["offloaded_bytes"] > 0 for row in rows] == [True, False, True, True]
    for row in rows:
        wanted = expected_numbers(study_of(row), f"{here}:LinkLooker")
        assert {name: row[name] for name in wanted} == wanted


def test_a_policy_that_raises_fails_its_points_with_the_reason(here: str) -> None:
    rows = rows_of(
        f'schema = 1\n[axes]\nnetwork = "alexnet"\nbatch = 128\ngpu = "titan-x-maxwell"\n'
        f'policy = ["{here}:Broken", "oracle"]\n'
        'capacity = ["9 GB", "11 GB"]\n'
    )
    assert [row["status"] for row in rows] == ["failed", "ok", "ok", "ok"]
    assert "policy 'broken' failed at " in rows[0]["reason"]
    assert "ZeroDivisionError: no good" in rows[0]["reason"]


def test_policies_of_the_package_do_not_look_at_times() -> None:
    """Plans are shared between points on the strength of this: change the link and the speed, and nothing moves."""
    study = make_study("vgg16", batch=256, gpu="titan-x-maxwell")
    other = replace(study, gpu=point_gpu(study.gpu, 10**9, 10**9, 10**6), trace=scaled_trace(study.trace, 3_300_000))
    for name in POLICIES:
        plans = [_plan(one, make_policy(name)) for one in (study, other)]
        assert plans[0] == plans[1]


def _plan(study: Study, policy: Policy) -> Plan:
    plan = policy.plan(study.problem())
    return replace(study.prepare(plan)[0], trials=())


def test_every_option_of_compare_is_an_axis(tmp_path: Path) -> None:
    """And means the same."""
    far = 'bandwidth = "3 GB/s"\nprovenance = "published"\nsource = "made up"\n'
    remote = "".join(f"\n[link.remote.{way}]\n{far}" for way in ("copy_out", "copy_in"))
    gpu = tmp_path / "two-sockets.toml"
    gpu.write_text(profile_file("titan-x-maxwell").read_text(encoding="utf-8") + remote, encoding="utf-8")
    asked = {"link_bandwidth_out": "9 GB/s", "link_bandwidth_in": "5 GB/s", "link_latency": "80 us", "numa": "remote"}
    asked |= {"compute_scale": 0.5, "host_scale": 3, "pinned_budget": "400 MB"}
    for policy in ("vdnn-all(p)", "vdnn-dyn"):
        axes = "\n".join(f"{name} = {json.dumps(value)}" for name, value in asked.items())
        text = f'schema = 1\n[axes]\nnetwork = "alexnet"\nbatch = 128\ngpu = "{gpu}"\npolicy = "{policy}"\n{axes}\n'
        (row,) = rows_of(text)
        found = compare("alexnet", batch=128, gpu=gpu, policies=policy, **asked)[policy]  # type: ignore[arg-type]
        assert (row["status"], row["trainable"], row["reason"]) == ("ok", found.trainable, found.reason)
        for name in ("iteration_time_ns", "performance", "pinned_host_bytes", "needed_bytes", "peak_bytes"):
            assert row[name] == getattr(found, name)
        assert (row["provenance"], row["link_out_bytes_per_s"]) == ("modelled", 9 * 10**9)


def test_a_machine_that_there_cannot_be_is_a_failed_point() -> None:
    text = 'schema = 1\n[axes]\nnetwork = "alexnet"\nbatch = 128\ngpu = "h200"\npolicy = "oracle"\nnuma = "remote"\n'
    (row,) = rows_of(text)
    assert row["status"] == "failed"
    assert row["reason"].endswith("expected local for h200: its profile has no [link.remote]")


def test_interpolated_batches_say_so() -> None:
    text = 'schema = 1\n[axes]\nnetwork = "vgg16"\nbatch = [64, 96]\ngpu = "titan-x-maxwell"\npolicy = "oracle"\n'
    timed, between = rows_of(text)
    assert (timed["trace_batch"], timed["interpolation_error_ppm"]) == ("64", 0)
    assert between["trace_batch"] == "64..128"
    assert between["interpolation_error_ppm"] is None  # batch 128 is mostly modelled: nothing to compare with
    assert between["provenance"] == "modelled"
    assert timed["iteration_time_ns"] < between["iteration_time_ns"] < 2 * timed["iteration_time_ns"]


@pytest.mark.parametrize("name", ["titan-x-maxwell", "h100", "h200"])
def test_link_tables_are_the_gpus_own_arithmetic(name: str) -> None:
    """Also for links so fast that points of the curve lie less than a nanosecond apart."""
    gpu = load_profile(name)
    random = np.random.default_rng(3)
    most = gpu.memory_bandwidth_bytes_per_s
    bandwidths = np.array([OWN, most, *random.integers(10**6, most, 59)], dtype=np.int64)
    latencies = np.array([*random.integers(1, 10**7, 60), OWN], dtype=np.int64)
    table = LinkTable(gpu, bandwidths, bandwidths[::-1], latencies)
    sizes = [1, 4096, 4097, 10**6, 33554432, 33554433, 6 * 10**9, 2**40]
    from vdnnsim.program import Stream

    for stream in (Stream.COPY_OUT, Stream.COPY_IN):
        durations = table.durations(stream, sizes)
        for link in range(len(table)):
            link_of = table.gpu(link).link
            curve = link_of.copy_out if stream is Stream.COPY_OUT else link_of.copy_in
            assert [curve.duration_ns(size) for size in sizes] == list(durations[:, link])
