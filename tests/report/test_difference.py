"""Two results, calibrations, profiles or configurations beside each other: what differs, and by how much."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.commands import in_process
from support.damage import damaged, read_or_refuse
from vdnnsim import Change, Comparison, InvalidInput, UnknownName, diff, difference_figure
from vdnnsim.calibration.records import CaseRecord, records_json
from vdnnsim.report.json_text import comparison_json
from vdnnsim.report.lanes import Interval, lanes_of, stored_lanes
from vdnnsim.results import PolicyRun
from vdnnsim.timeline import KernelRecord

PROFILES = Path(__file__).parents[2] / "gpu_profiles"
LAYER = {
    "layer": "conv1", "forward_ns": 300, "backward_ns": 600, "stall_ns": 0, "offloaded_bytes": 64,
    "prefetched_bytes": 64, "algorithms": {"forward": "FFT"},
}  # fmt: skip
RESULT = {
    "policy": "vdnn-all(p)", "trainable": True, "iteration_time_ns": 1000, "stall_ns": 0, "peak_bytes": 200,
    "peak_bytes_by_class": {"weights": 0}, "performance": 0.5, "deferred_prefetches": 0, "layers": [LAYER],
    "plan": {"offload": ["conv1"]}, "trials": [],
}  # fmt: skip
DOCUMENT = {"schema": 1, "network": "net", "batch": 1, "gpu": "one", "results": [RESULT]}
CASE = CaseRecord(
    "net", 1, "fp32", "oracle", 1000, "best-fit", 1000, 1010, 10, 10, 0, 0, "", True, True, True, 5, 200, True, {}, (),
    (("conv1 forward", 400, 410), ("conv1 backward", 1000, 1010)), gpu="one",
)  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, document: Any) -> str:
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def with_result(**changed: Any) -> dict[str, Any]:
    return {**DOCUMENT, "results": [{**RESULT, **changed}]}


def test_the_same_twice_differs_in_nothing(tight: Comparison, write: Callable[..., str]) -> None:
    difference = diff(tight, write("tight.json", comparison_json(tight)))
    assert (difference.inputs, difference.numbers, difference.layers) == ((), (), ())
    assert str(difference).endswith("No difference.")
    assert difference.over(0) == ()


def test_parts_are_set_against_what_they_are_parts_of(write: Callable[..., str]) -> None:
    """20 ns of stall are 2 % of an iteration of 1000 ns, 10 bytes of weights 5 % of a peak of 200."""
    changed = with_result(
        iteration_time_ns=1030, stall_ns=20, peak_bytes_by_class={"weights": 10}, deferred_prefetches=2
    )
    difference = diff(write("a.json", DOCUMENT), write("b.json", {**changed, "gpu": "two"}))
    policy = "vdnn-all(p)"
    assert difference.inputs == (Change("", "gpu", "one", "two", None),)
    assert set(difference.numbers) == {
        Change(policy, "iteration_time_ns", 1000, 1030, 0.03),
        Change(policy, "stall_ns", 0, 20, 0.02),
        Change(policy, "peak_bytes_by_class.weights", 0, 10, 0.05),
        Change(policy, "deferred_prefetches", 0, 2, None),
    }
    assert [change.name for change in difference.over(0.02)] == ["peak_bytes_by_class.weights", "iteration_time_ns"]
    assert len(difference.to_frame()) == 5


def test_what_one_side_alone_has_or_trains_is_over_every_limit(write: Callable[..., str]) -> None:
    other = {**RESULT, "policy": "oracle"}
    before = write("a.json", {**DOCUMENT, "results": [RESULT, other]})
    difference = diff(before, write("b.json", with_result(trainable=False, reason="no room")))
    assert [(change.of, change.name) for change in difference.over(1e9)] == [
        ("oracle", "result"), ("vdnn-all(p)", "trainable"),
    ]  # fmt: skip
    assert all(change.share == math.inf for change in difference.over(1e9))
    assert "Only in A: oracle" in str(difference)


def test_gpus_of_one_host_are_told_apart(write: Callable[..., str]) -> None:
    gpus = [{"policy": "p", "number": n, "iteration_time_ns": 100 + n, "peak_bytes": 8} for n in (0, 1)]
    slower = [gpus[0], {**gpus[1], "iteration_time_ns": 202}]
    difference = diff(write("a.json", {"results": gpus}), write("b.json", {"results": slower}))
    assert difference.numbers == (Change("p, GPU 1", "iteration_time_ns", 101, 202, 1.0),)


def test_layers_gain_and_lose(write: Callable[..., str]) -> None:
    slower = {**LAYER, "forward_ns": 350}
    new = {**LAYER, "layer": "conv2"}
    (changed, added) = diff(write("a.json", DOCUMENT), write("b.json", with_result(layers=[slower, new]))).layers
    assert (changed.layer, changed.gained_ns) == ("conv1", -50)
    assert (added.layer, added.before, added.gained_ns) == ("conv2", None, -900)


def test_single_policies_of_different_names_are_set_beside_each_other(
    roomy: Comparison, write: Callable[..., str]
) -> None:
    one, other = (replace(roomy, runs=(roomy.runs[place],)) for place in (0, 1))
    difference = diff(one, other)
    assert difference.pairs == (("baseline(p)", "vdnn-all(p)"),)
    axes = difference_figure(difference)
    assert [len(panel.get_yticks()) for panel in axes] == [4, 4]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    with pytest.raises(UnknownName, match="unknown policy 'oracle'"):
        difference_figure(difference, policy="oracle")
    with pytest.raises(InvalidInput, match="has no timeline: found one of an older version"):
        difference_figure(diff(write("a.json", DOCUMENT), write("b.json", DOCUMENT)))


def test_files_hold_the_timeline_and_join_what_is_next_to_each_other(roomy: Comparison) -> None:
    run = next(run for run in roomy.runs if run.timeline.copies)
    stored = stored_lanes(run)
    assert sum(len(lane["of"]) for lane in stored.values()) > 10
    for engine, intervals in lanes_of(run.timeline).items():
        lane = stored[engine]
        assert set(zip(lane["begin_ns"], lane["end_ns"], lane["of"], strict=True)) <= set(intervals)
    kernels = tuple(KernelRecord(0, "a" if n < 5 else "b", "f", "", 10 * n, 10 * n + 9) for n in range(10))
    timeline = replace(run.timeline, kernels=kernels, iteration_time_ns=2000)
    lane = stored_lanes(PolicyRun(run.result, run.plan, run.program, timeline, run.steps))["compute"]
    assert list(zip(lane["begin_ns"], lane["end_ns"], lane["of"], strict=True)) == [
        Interval(0, 49, "a"), Interval(50, 99, "b"),
    ]  # fmt: skip


def test_calibrations_differ_in_what_was_measured(write: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    write("first/results.json", records_json([CASE], {}))
    slower = replace(CASE, measured_iteration_time_ns=1100, steps=(*CASE.steps[:1], ("conv1 backward", 1100, 1010)))
    difference = diff(str(tmp_path / "first"), write("results.json", records_json([slower], {})))
    over = {change.name: change.share for change in difference.over(0.02)}
    assert over == {"measured_iteration_time_ns": 0.1, "error": pytest.approx(1010 / 1100 - 1010 / 1000)}
    assert [(step.layer, step.gained_ns) for step in difference.layers] == [("conv1 backward", -100)]


def test_calibrations_of_models_too(write: Callable[..., str]) -> None:
    case = {"predicted": {"model": "gpt", "policy": "te", "gpu": "h200", "step_ns": 990}, "step_ns": 1000}
    slower = {**case, "step_ns": 1100}
    difference = diff(write("a.json", {"cases": [case]}), write("b.json", {"cases": [slower]}))
    assert {change.name: change.share for change in difference.over(0.02)} == {
        "step_ns": 0.1, "error": pytest.approx(990 / 1100 - 0.99),
    }  # fmt: skip
    assert difference.pairs == (("gpt, te", "gpt, te"),)


def test_profiles_are_read_at_the_same_sizes(write: Callable[..., str]) -> None:
    text = (PROFILES / "h200.toml").read_text(encoding="utf-8")
    without_a_point = text.replace('  { size = "67108864 B", duration = "1223360 ns" },\n', "").replace(
        'capacity = "150109880320 B"', 'capacity = "75 GB"'
    )
    difference = diff(write("a.toml", text), write("b.toml", without_a_point))
    assert [change.name for change in difference.numbers] == ["memory.capacity"]
    assert difference.numbers[0].share == pytest.approx(75 / 150.109880320 - 1)


def test_a_configuration_goes_by_the_names_in_it(write: Callable[..., str]) -> None:
    text = 'name = "net"\n[[layer]]\nname = "conv1"\nchannels = 8\n'
    more = '[[layer]]\nname = "conv0"\nkind = "CONV"\n'
    before, after = write("a.toml", text), write("b.toml", text.replace("8", "16").replace("[[", more + "[[", 1))
    difference = diff(before, after)
    assert difference.inputs == (Change("", "layer.conv0.kind", None, "CONV", None),)
    assert difference.numbers == (Change("", "layer.conv1.channels", 8, 16, 1.0),)


def test_the_exit_code_guards(write: Callable[..., str], tmp_path: Path) -> None:
    before, after = write("a.json", DOCUMENT), write("b.json", with_result(iteration_time_ns=1030))
    assert in_process(["diff", before, after]).code == 0
    assert in_process(["diff", before, after, "--fail-over", "3%"]).code == 0
    done = in_process(["diff", before, after, "--fail-over", "2%", "--json", "-"])
    assert (done.code, json.loads(done.out)["numbers"][0]["share"]) == (1, 0.03)
    assert done.err == "over 2 %: vdnn-all(p) iteration time 1000 ns → 1030 ns (+3.00 %)\n"
    figure = tmp_path / "figure.png"
    assert in_process(["diff", before, after, "--figure", str(figure)]).code == 2
    assert not figure.exists()


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (json.dumps(DOCUMENT)[:-20], "found JSON that is cut short or broken; expected JSON of 'compare'"),
        ('{"a": 1}', "found other JSON"),
        ('{"results": [{"policy": "x", "layers": [], "iteration_time_ns": NaN}]}', "found other JSON"),
        ('{"results": ' + "[" * 100_000, "found other JSON"),
        ('{"results": [{"policy": 1}]}', "found other JSON"),
        ("[1, 2]", "found neither JSON nor TOML"),
        ("", "found nothing; expected JSON"),
        ("a = 1", "is a result"),
        (with_result(policy="\x1b[2J<script>"), ""),
    ],
)
def test_what_is_no_result_is_refused_in_a_line(document: Any, told: str, write: Callable[..., str]) -> None:
    done = in_process(["diff", write("a.json", DOCUMENT), write("b.json", document)])
    assert "\x1b" not in done.out + done.err
    assert (done.code, told in done.err, done.err.count("\n")) == ((2, True, 1) if told else (0, True, 0))


@settings(max_examples=30)
@given(st.data(), st.sampled_from([json.dumps(DOCUMENT), records_json([CASE], {}), "[a.b]\nc = '1 GB'\nd = [1, 2]\n"]))
def test_damaged_files_are_compared_or_refused(data: st.DataObject, text: str) -> None:
    with TemporaryDirectory() as folder:
        before, after = Path(folder) / "before", Path(folder) / "after"
        before.write_text(text, encoding="utf-8")
        after.write_bytes(data.draw(damaged(text.encode())))
        read_or_refuse(lambda path: str(diff(before, path)), after)
