"""From names to numbers: what a comparison says, what it refuses, and that it says the same every time."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from support.cases import conv, fc, gpu_of, layer, network_of, plan_of, row, trace_of
from support.digest import digest, digests
from support.small_files import NETWORK_TOML, PROFILE_TOML
from support.staircase import UNIT_BYTES, study_with
from vdnnsim.comparing import compare, compare_policies
from vdnnsim.errors import InvalidFile, InvalidInput, MissingTrace, UnknownName
from vdnnsim.gpu import HostCosts
from vdnnsim.making import make_study
from vdnnsim.network import Kind, load_network
from vdnnsim.policies import POLICIES, Plan, Problem, make_policy
from vdnnsim.results import Comparison
from vdnnsim.study import Study
from vdnnsim.trace import Trace, find_trace

ROOT = Path(__file__).parents[1]
NETWORK = network_of(conv("a"), layer(Kind.ACTV, "relu"), conv("b", channels=2), fc("fc"), layer(Kind.SOFTMAX, "loss"))
TRACE = trace_of(NETWORK, [row("b", "forward", 300), row("a", "forward", 100)])
GPU = gpu_of(out_ns_per_100_bytes=40, in_ns_per_100_bytes=40, host=HostCosts(kernel_ns=5))


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(NETWORK, gpu=GPU, trace=TRACE)


def test_all_of_the_papers_policies_in_its_order(comparison: Comparison) -> None:
    assert [result.policy for result in comparison] == list(POLICIES)
    assert (comparison.network, comparison.batch, comparison.gpu, comparison.math) == ("small", 1, "test-gpu", "fp32")
    assert comparison["oracle"] is comparison.results[-1]
    with pytest.raises(KeyError):
        comparison["nothing"]


def test_performance_is_the_oracles_time_over_ones_own(comparison: Comparison) -> None:
    best = comparison["oracle"]
    assert best.performance == best.feature_extraction.performance == 1
    for result in comparison:
        assert result.performance == best.iteration_time_ns / result.iteration_time_ns
        inner, inner_best = result.feature_extraction, best.feature_extraction
        assert inner.performance == inner_best.iteration_time_ns / inner.iteration_time_ns
        assert inner.iteration_time_ns < result.iteration_time_ns
        assert inner.peak_bytes < result.peak_bytes


def test_numbers_of_one_result_by_hand(comparison: Comparison) -> None:
    """vdnn-all on a 5 x 5 image: data and a's map, 100 bytes each, leave and come back; b's map is the FC's."""
    result = comparison["vdnn-all(m)"]
    assert (result.offloaded_bytes, result.prefetched_bytes, result.pinned_host_bytes) == (200, 200, 200)
    by_layer = {entry.layer: entry for entry in result.layers}
    assert list(by_layer) == ["a", "relu", "b", "fc", "loss"]
    assert (by_layer["a"].offloaded_bytes, by_layer["b"].offloaded_bytes) == (100, 100)
    # b's X comes back during loss's backward, a's during b's: where the copy is issued, not where it is needed.
    assert (by_layer["loss"].prefetched_bytes, by_layer["b"].prefetched_bytes) == (100, 100)
    assert by_layer["a"].algorithms == {"forward": "default", "backward_filter": "default"}
    assert [entry.in_classifier for entry in result.layers] == [False, False, False, True, True]
    assert sum(result.bytes_by_class_at_peak.values()) == result.peak_bytes
    assert sum(result.kernel_time_ns_by_provenance.values()) == sum(entry.kernel_ns for entry in result.layers)


def test_baseline_peak_by_hand(comparison: Comparison) -> None:
    """Weights 4 + 8 + 200 x 25 = 5012; maps: data 100, a 100, b 200, fc 100, loss 100; two gradient buffers of 200, and
    one for weight gradients as large as the largest, 5000. Everything stays, so that the average is the peak."""
    result = comparison["baseline(p)"]
    assert result.bytes_by_class_at_peak == {
        "weights": 5012,
        "weight gradients": 5000,
        "feature maps": 600,
        "gradient maps": 400,
        "workspace": 0,
    }
    assert result.peak_bytes == result.average_bytes == result.average_bytes_per_step == 11_012
    assert result.stall_ns == 0


def test_a_table_has_one_row_for_each_policy_and_no_nesting(comparison: Comparison) -> None:
    frame = comparison.to_frame()
    assert list(frame["policy"]) == list(POLICIES)
    assert frame["iteration_time_ns"].dtype.kind == "i"
    for name in (
        "feature_extraction.performance",
        "bytes_by_class_at_peak.feature_maps",
        "provenance",
        "capacity_bytes",
    ):
        assert name in frame.columns
    assert not {"layers", "trials"} & set(frame.columns)


def test_what_does_not_fit_is_run_where_it_does_and_says_what_it_needs() -> None:
    study = study_with(14)
    result = study.run(make_policy("vdnn-all(p)")).result
    assert not result.trainable
    assert (
        result.verdict == "memory-bound: out of memory in c backward: no room for 4.1 KB (workspace:c:backward_filter)"
    )
    assert f"fits in {21 * UNIT_BYTES / 1000:.1f} KB ({21 * UNIT_BYTES} bytes)" in result.reason
    assert result.needed_bytes == 21 * UNIT_BYTES
    assert result.deferred_prefetches == 0
    roomy = replace(study, gpu=study.gpu.with_capacity(result.needed_bytes)).run(make_policy("vdnn-all(p)")).result
    assert roomy.trainable
    assert roomy.deferred_prefetches == 1  # one unit less than with room for all prefetches
    roomy = replace(study, gpu=study.gpu.with_capacity(22 * UNIT_BYTES)).run(make_policy("vdnn-all(p)")).result
    assert roomy.iteration_time_ns == result.iteration_time_ns
    assert roomy.peak_bytes == result.peak_bytes


@pytest.mark.parametrize("pool", ["best-fit", "first-fit", "pytorch-caching"])
@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "oracle"])
def test_what_is_said_to_be_needed_is_enough(policy: str, pool: str) -> None:
    result = study_with(9, pool).run(make_policy(policy)).result
    assert not result.trainable
    enough = study_with(9, pool)
    enough = replace(enough, gpu=enough.gpu.with_capacity(result.needed_bytes))
    assert enough.run(make_policy(policy)).result.trainable


def test_the_oracle_has_room_without_end() -> None:
    result = study_with(1).run(make_policy("oracle")).result
    assert result.trainable
    assert result.largest_hole_bytes == 0


def test_names_files_and_objects_mean_the_same(tmp_path: Path) -> None:
    (tmp_path / "net.toml").write_text(NETWORK_TOML, encoding="utf-8")
    (tmp_path / "gpu.toml").write_text(PROFILE_TOML, encoding="utf-8")
    timed = trace_of(load_network(tmp_path / "net.toml", 3))
    trace = Trace(replace(timed.header, gpu="tiny-gpu"), timed.rows)
    by_path = make_study(tmp_path / "net.toml", batch=3, gpu=tmp_path / "gpu.toml", trace=trace)
    by_text = make_study(str(tmp_path / "net.toml"), batch=3, gpu=str(tmp_path / "gpu.toml"), trace=trace)
    assert by_path == by_text
    assert by_path.network.name == "tiny"
    assert by_path.gpu.name == "tiny-gpu"
    network = load_network("alexnet", 128)
    by_object = make_study(network, gpu="titan-x-maxwell", trace=find_trace(network, "titan-x-maxwell", "fp32"))
    by_name = make_study("alexnet", batch=128, gpu="titan-x-maxwell")
    assert by_object.network == by_name.network
    assert by_object.trace.rows == by_name.trace.rows


def test_capacity_and_link_as_numbers_and_as_text() -> None:
    as_text = make_study(NETWORK, gpu=GPU, trace=TRACE, capacity="12 GB", link_bandwidth="16GB/s").gpu
    as_numbers = make_study(NETWORK, gpu=GPU, trace=TRACE, capacity=12 * 10**9, link_bandwidth=16 * 10**9).gpu
    assert as_text == as_numbers
    assert as_text.capacity_bytes == 12 * 10**9


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"network": "vgg16"}, InvalidInput, "batch: found none"),
        (
            {"network": "vgg17", "batch": 64},
            UnknownName,
            "captured step or folder 'vgg17'; did you mean 'vgg1",
        ),
        ({"network": "vgg16", "batch": 0}, InvalidInput, "batch: found 0, expected a whole number from 1"),
        ({"batch": 2}, InvalidInput, "batch: found 2, expected the network's own 1"),
        ({"gpu": "titan"}, UnknownName, "unknown GPU 'titan'; did you mean 'titan-x-maxwell'?"),
        ({"gpu": Path("nowhere.toml")}, InvalidFile, "nothing by this name"),
        ({"math": "fp16"}, UnknownName, "unknown math 'fp16'; did you mean 'fp32'? Known: fp32, tf32"),
        ({"math": "tf32"}, InvalidInput, "found math fp32, expected tf32"),
        ({"pool": "worst-fit"}, UnknownName, "unknown pool 'worst-fit'"),
        ({"weight_gradients": "some"}, UnknownName, "unknown weight gradients 'some'"),
        ({"capacity": 0}, InvalidInput, "capacity: found 0, expected 1 or more"),
        ({"capacity": "12"}, InvalidInput, "capacity: found '12', expected a size with its unit"),
        ({"capacity": "nan GB"}, InvalidInput, "capacity: found 'nan GB'"),
        ({"link_bandwidth": "16 GB"}, InvalidInput, "link bandwidth: found '16 GB', expected a bandwidth"),
        ({"link_bandwidth": -1}, InvalidInput, "link bandwidth: found -1"),
        ({"gpu": "titan-x-maxwell", "link_bandwidth": "337GB/s"}, InvalidInput, "expected at most the 336.00 GB/s"),
        ({"trace": "nowhere.csv"}, InvalidFile, "nowhere.csv: file: found nothing by this name"),
        (
            {"trace": trace_of(network_of(conv("x"), layer(Kind.SOFTMAX, "loss")))},
            InvalidFile,
            "layer 'a' differs first",
        ),
        (
            {"trace": None},
            MissingTrace,
            "no trace for small batch 1 on test-gpu, fp32. There are:\n  none\nMake one on that GPU",
        ),
        ({"policies": []}, InvalidInput, "policies: found none, expected one or more of: baseline(m)"),
        ({"policies": ["oracle", "oracle"]}, InvalidInput, "policies: found oracle, oracle, expected each one once"),
        ({"policies": ["vdnn"]}, UnknownName, "unknown policy 'vdnn'"),
    ],
)
def test_what_cannot_be_used(arguments: dict[str, object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        compare(**{"network": NETWORK, "gpu": GPU, "trace": TRACE, **arguments})  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_a_policy_may_refuse_a_problem() -> None:
    class Picky:
        name = "picky"

        def check(self, problem: Problem) -> None:
            kinds = {entry.kind for entry in problem.network.layers}
            raise InvalidInput(f"picky: found {' '.join(sorted(kinds))}, expected no CONV")

        def plan(self, problem: Problem) -> Plan:
            raise AssertionError(f"asked for a plan of {problem.network.name}")

    with pytest.raises(InvalidInput, match="picky: found ACTV CONV FC SOFTMAX, expected no CONV"):
        compare_policies(make_study(NETWORK, gpu=GPU, trace=TRACE), [Picky()])


# The same every time

POLICY_NAMES = ["vdnn-all(p)", "vdnn-conv(m)", "vdnn-dyn", "baseline(p)"]


def test_the_same_input_gives_the_same_output_to_the_bit_in_every_process() -> None:
    """Strings hash differently in each process: nothing may depend on the order of a set."""
    here = digests("googlenet", 128, POLICY_NAMES)
    assert digests("googlenet", 128, POLICY_NAMES) == here
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    command = [sys.executable, "-m", "support.digest", "googlenet", "128", *POLICY_NAMES]
    for seed in ("0", "4711"):
        result = subprocess.run(
            command, env={**environment, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert result.stdout.splitlines() == here


def _run(arguments: tuple[Study, str]) -> str:
    study, policy = arguments
    return digest(study.run(make_policy(policy)))


def test_studies_and_results_travel_between_processes() -> None:
    study = study_with(20)
    here = [_run((study, policy)) for policy in POLICY_NAMES]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_run, [(study, policy) for policy in POLICY_NAMES])) == here
    run = study.run(make_policy("vdnn-dyn"))
    assert pickle.loads(pickle.dumps(run)) == run


def test_running_one_policy_does_not_change_another() -> None:
    study = study_with(20)
    alone = [digest(study.run(make_policy(policy))) for policy in POLICY_NAMES]
    together = [digest(study.run(make_policy(policy))) for policy in reversed(POLICY_NAMES)]
    assert together == alone[::-1]


def test_a_study_travels_without_what_it_ran() -> None:
    study = study_with(22)
    before = study.run(make_policy("vdnn-all(p)")).result
    size = len(pickle.dumps(study_with(22)))
    assert len(pickle.dumps(study)) == size
    assert pickle.loads(pickle.dumps(study)).run(make_policy("vdnn-all(p)")).result == before


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_behind_another_link_a_study_says_what_one_of_its_own_says(policy: str) -> None:
    """Whatever it ran before. In 4 GB vdnn-conv(m) puts off a prefetch, vdnn-dyn tries plans and the baseline finds no
    room."""
    where = {"batch": 64, "gpu": "titan-x-maxwell", "capacity": "4 GB"}
    study = make_study("vgg16", **where)  # type: ignore[arg-type]
    study.run(policy)
    for link in ("2 GB/s", "40 GB/s"):
        other = make_study("vgg16", **where, link_bandwidth=link)  # type: ignore[arg-type]
        assert digest(study.behind(link).run(policy)) == digest(other.run(policy))


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_timed_by_another_trace_a_study_says_what_one_of_its_own_says(policy: str) -> None:
    """Whatever it ran before: with other times, then with workspaces of other sizes for the same algorithms."""
    where = {"batch": 64, "gpu": "titan-x-maxwell", "capacity": "4 GB"}
    study = make_study("vgg16", **where)  # type: ignore[arg-type]
    study.run(policy)
    for times, sizes in ((2, 1), (1, 3)):
        rows = [
            row._replace(duration_ns=row.duration_ns * times, workspace_bytes=row.workspace_bytes // sizes)
            for row in study.trace.rows
        ]
        trace = Trace(study.trace.header, rows)
        other = make_study("vgg16", **where, trace=trace)  # type: ignore[arg-type]
        assert digest(study.timed_by(trace).run(policy)) == digest(other.run(policy))
    with pytest.raises(InvalidInput):
        study.timed_by(TRACE)


def test_a_plan_that_runs_like_one_before_keeps_its_own_words() -> None:
    """Nobody needs the image again, so that vDNN-all, which vDNN-dyn tries first, offloads nothing either."""
    network = network_of(layer(Kind.ACTV, "relu"), layer(Kind.SOFTMAX, "loss"))
    plan = Study(network, trace_of(network), gpu_of()).run("vdnn-dyn").plan
    assert [trial.title for trial in plan.trials] == ["vdnn-all, memory-optimal", "no offload, fastest"]
    assert plan.offload == frozenset()


def test_plans_that_put_off_other_prefetches_are_not_taken_for_each_other() -> None:
    """One study runs both, in either order, as two studies would."""
    gpu = gpu_of(in_ns_per_100_bytes=900)
    plans = [plan_of(NETWORK, TRACE, offload=("a", "b"), deferred=deferred) for deferred in ((), ("loss", "fc"))]

    def numbers(study: Study, plan: Plan) -> tuple[int, int]:
        result = study.run_plan("plan", plan).result
        return result.deferred_prefetches, result.loss.late_fetches_ns

    alone = [numbers(Study(NETWORK, TRACE, gpu), plan) for plan in plans]
    assert [deferred for deferred, _ in alone] == [0, 2]
    assert alone[0][1] == 0 < alone[1][1]
    for order in (plans, plans[::-1]):
        study = Study(NETWORK, TRACE, gpu)
        found = {plan.deferred: numbers(study, plan) for plan in order}
        assert [found[plan.deferred] for plan in plans] == alone
