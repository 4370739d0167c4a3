"""Captured steps where networks go: studies, comparisons, policies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from captured.steps import MIB, three_layers
from support.cases import ROOMY_BYTES, conv, fc, gpu_of, layer, network_of, trace_of
from vdnnsim import Comparison, Layout, Plan, Problem, Study, compare, make_plan, make_study
from vdnnsim.captured import PlanFile, schedule_of, write_step
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile
from vdnnsim.iteration import Remake
from vdnnsim.network import Kind
from vdnnsim.policies import decide, make_policy
from vdnnsim.report.csv_text import comparison_csv, layers_csv
from vdnnsim.report.json_text import comparison_json
from vdnnsim.report.table import comparison_notes

STEP = three_layers()
GPU = gpu_of(ROOMY_BYTES, 2, 2)
"""A link of 50 GB/s."""
NETWORK = network_of(conv("a"), fc("fc"), layer(Kind.SOFTMAX, "loss"))


@pytest.fixture(scope="module")
def table() -> Comparison:
    return compare(STEP, gpu=GPU)


def test_the_papers_policies_are_run_each_once(table: Comparison) -> None:
    assert [result.policy for result in table] == ["baseline", "vdnn-all", "vdnn-conv", "vdnn-dyn", "oracle"]
    assert all(result.trainable for result in table)


def test_what_leaves_little_free_is_told(table: Comparison) -> None:
    """PyTorch's allocator holds most under the baseline, and what the oracle holds is of no capacity."""
    assert not any(note.startswith("With less than 5 % free") for note in comparison_notes(table))
    memory = table["baseline"].memory
    assert memory is not None
    tight = compare(STEP, gpu=GPU.with_capacity(memory.reserved_bytes * 100 // 96), policies=["baseline", "oracle"])
    said = "With less than 5 % free another process, which cuts its segments up otherwise, may find no room: baseline"
    assert said in comparison_notes(tight)
    on_cpu = replace(STEP, header=replace(STEP.header, device="cpu"))
    full = GPU.with_capacity(memory.requested_bytes)
    for step, pool, trains in ((on_cpu, None, True), (STEP, "best-fit", True), (STEP, None, False)):
        found = compare(step, gpu=full, pool=pool, policies=["baseline"])
        assert found["baseline"].trainable == trains
        assert said not in comparison_notes(found)


def test_policies_under_which_nothing_leaves_are_told() -> None:
    """Blocks of 8 MiB at most, of which `offload` is to let none below 1 GiB go; the others let some, or chose."""
    policies = ["baseline", "vdnn-all", "vdnn-dyn", "offload(min_bytes=1GiB)", "oracle"]
    (told,) = [one for one in comparison_notes(compare(STEP, gpu=GPU, policies=policies)) if "Nothing leaves" in one]
    assert told.startswith("Nothing leaves under offload(min_bytes=1GiB): all finds room, or their parameters let")


@pytest.mark.parametrize(
    ("in_flight", "freed"), [("none", [7, 7, 7]), ("23MiB", [5, 7, 7]), ("15MiB", [5, 6, 7]), ("0", [3, 5, 7])]
)
def test_only_with_nothing_under_way_a_copy_out_is_waited_for_in_its_own_call(in_flight: str, freed: list[int]) -> None:
    policy = make_policy(f"offload(in_flight={in_flight})")
    leaves = decide(policy, make_study(STEP, gpu=GPU).problem()).schedule.leaves
    assert [leave.freed for leave in leaves.values()] == freed


def test_a_gpu_is_known_by_its_own_name_too() -> None:
    titled = replace(GPU, name="fast", title=STEP.header.gpu)
    assert compare(STEP, gpu=titled, policies="oracle").gpu == "fast"


def test_variants_are_one() -> None:
    table = compare(STEP, gpu=GPU, policies=["vdnn-all(m)", "vdnn-all(p)", "baseline(p)"])
    assert [result.policy for result in table] == ["vdnn-all", "baseline"]


def test_a_network_wants_to_know_the_variant() -> None:
    with pytest.raises(InvalidInput, match=r"found 'vdnn-all', expected vdnn-all\(m\) or vdnn-all\(p\)"):
        Study(NETWORK, trace_of(NETWORK), gpu_of()).run("vdnn-all")  # type: ignore[arg-type]


def test_policies_of_the_other_kind_say_so() -> None:
    with pytest.raises(InvalidInput, match="found small, a network of layers; expected a captured step"):
        Study(NETWORK, trace_of(NETWORK), gpu_of()).run(LargeSaved())  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="found three, a captured step; expected a network of layers"):
        make_study(STEP, gpu=GPU).run("vdnn-conv+recompute")


def test_numbers_of_a_step_without_offload(table: Comparison) -> None:
    """Nine kernels of 100 us with 1 us between them; the last launch is long done. y3 and its gradient are the peak."""
    baseline = table["baseline"]
    there = 6 * MIB + (4 + 8 + 16 + 32 + 32) * MIB + 512
    assert baseline.peak_bytes == there
    assert baseline.memory is not None
    assert baseline.memory.requested_bytes >= there
    assert (baseline.offloaded_bytes, baseline.stall_ns) == (0, 0)
    assert baseline.iteration_time_ns == table["oracle"].iteration_time_ns
    assert table.units_per_s(baseline) == pytest.approx(4e9 / baseline.iteration_time_ns)


def test_rows_are_modules_and_add_up(table: Comparison) -> None:
    result = table["vdnn-all"]
    assert [layer.layer for layer in result.layers] == [
        "layers.0",
        "layers.1",
        "layers.2",
        "outside modules",
        "optimiser",
    ]
    assert sum(layer.forward_ns + layer.backward_ns for layer in result.layers) == result.iteration_time_ns
    assert sum(layer.offloaded_bytes for layer in result.layers) == result.offloaded_bytes == (8 + 16 + 32) * MIB
    assert sum(layer.stall_ns for layer in result.layers) == result.stall_ns > 0
    assert result.pinned_host_bytes == result.offloaded_bytes


def test_the_plan_of_a_result_goes_to_a_file_and_back(table: Comparison, tmp_path: Path) -> None:
    table["vdnn-all"].plan.save(tmp_path / "plan.json")
    found = PlanFile.load(tmp_path / "plan.json")
    assert found == table["vdnn-all"].plan
    assert (found.policy, found.pinned_bytes) == ("vdnn-all", 56 * MIB)
    run = make_study(STEP, gpu=GPU).run("vdnn-all")
    assert found.schedule(STEP).actions == run.plan.schedule.actions


def test_networks_have_no_plan_to_save() -> None:
    run = Study(NETWORK, trace_of(NETWORK), gpu_of()).run("vdnn-all(p)")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="found a network of layers; expected a captured step"):
        _ = run.result.plan


def test_vdnn_dyn_tries_no_offload_conv_all() -> None:
    """In 10 MB less than without offload only offloading has room: y3 is gone when its gradient comes."""
    free = make_study(STEP, gpu=GPU).run("vdnn-dyn").result
    assert [trial.title for trial in free.trials] == ["no offload"]
    assert free.memory is not None
    pool = "best-fit"  # segments of PyTorch's allocator are too coarse for so small a step
    without = make_study(STEP, gpu=GPU, pool=pool).run("baseline").result.pool_high_water_bytes
    tight = make_study(STEP, gpu=GPU, capacity=without - 512, pool=pool).run("vdnn-dyn").result
    assert [(trial.title, trial.fits) for trial in tight.trials] == [("no offload", False), ("vdnn-conv", True)]
    assert tight.trainable
    none = make_study(STEP, gpu=GPU, capacity=8 * MIB, pool=pool).run("vdnn-dyn").result
    assert [trial.title for trial in none.trials] == ["no offload", "vdnn-conv", "vdnn-all"]
    assert not none.trainable
    assert none.needed_bytes > 8 * MIB


def test_a_folder_is_a_step(table: Comparison, tmp_path: Path) -> None:
    write_step(STEP, tmp_path / "three")
    again = compare(str(tmp_path / "three"), gpu=GPU)
    assert [replace(result, plan_file="") for result in again] == [replace(own, plan_file="") for own in table]


def test_what_a_capture_says_itself_nobody_else_may(tmp_path: Path) -> None:
    assert make_study(STEP, gpu=GPU, batch=4).workload.batch == 4
    for told in ({"math": "tf32"}, {"trace": "x.csv"}, {"traces": tmp_path}):
        with pytest.raises(InvalidInput, match="expected none: three is a captured step"):
            compare(STEP, gpu=GPU, **told)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=r"^three: found one captured step, of batch 4; expected captures of"):
        compare(STEP, gpu=GPU, batch=8)


def test_a_profile_of_another_gpu_is_refused() -> None:
    other = replace(GPU, name="h200")
    with pytest.raises(InvalidInput, match=r"^three: captured on 'test-gpu', found the profile of 'h200', expected "):
        make_study(STEP, gpu=other)


def test_a_folder_without_a_step_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=str(tmp_path)):
        make_study(str(tmp_path), gpu=GPU)


def test_files_of_numbers_say_what_was_captured(table: Comparison) -> None:
    document = json.loads(comparison_json(table))
    assert document["captured"]["setting"] == {"batch": 4}
    assert document["captured"]["torch"] == "2.11.0"
    own = {result["policy"]: result for result in document["results"]}
    assert own["vdnn-all"]["plan"]["offload"] == ["b7", "b8", "b9"]
    memory = table["vdnn-all"].memory
    assert memory is not None
    assert own["vdnn-all"]["peak_reserved_bytes"] == memory.reserved_bytes
    head = comparison_csv(table).splitlines()[0].split(",")
    assert {"units_per_s", "torch", "setting.batch", "seen.step_ns", "peak_allocated_bytes"} < set(head)
    assert len(layers_csv(table).splitlines()) == 1 + 5 * 5


class LargeSaved:
    """A policy of one's own."""

    name = "large-saved"

    def check(self, problem: Problem) -> None:
        _ = problem.step

    def plan(self, problem: Problem) -> Plan:
        sizes = problem.iteration.buffers
        large = {name for name in problem.workload.movable() if sizes[name].size_bytes > 10 * MIB}
        return make_plan(problem, Layout.LAYER_WISE, large, problem.performance_optimal)


def test_a_policy_of_ones_own() -> None:
    result = compare(STEP, gpu=GPU, policies=LargeSaved())["large-saved"]
    assert result.offloaded_bytes == (16 + 32) * MIB
    assert [block.block for block in result.plan.leaving] == [8, 9]


def test_checking_mode_runs_all_policies() -> None:
    study = replace(make_study(STEP, gpu=GPU), checked=True)
    checked, unchecked = (one.run("vdnn-all").result for one in (study, make_study(STEP, gpu=GPU)))
    assert checked.iteration_time_ns == unchecked.iteration_time_ns


def profile_of(capacity_bytes: int) -> GpuProfile:
    return replace(GPU, capacity_bytes=capacity_bytes)


def test_fitting_is_asked_of_steps_in_a_row() -> None:
    """A step leaves its loss behind, for which nobody gives back another one: the first step has room, a later one may
    not. What is said to be needed is enough for all."""
    roomy = make_study(STEP, gpu=GPU).run("baseline").result
    assert roomy.memory is not None
    needed_bytes = (
        make_study(STEP, gpu=profile_of(roomy.memory.reserved_bytes - MIB)).run("baseline").result.needed_bytes
    )
    assert make_study(STEP, gpu=profile_of(needed_bytes)).run("baseline").result.trainable


def test_a_step_with_modules_made_again_is_run_and_has_no_plan_to_save() -> None:
    """Layers 1 and 2 run once more; nothing is copied."""
    study = make_study(STEP, gpu=GPU)
    plan = study.run("oracle").plan
    again = Remake(5, 10, (("layers.1", "aten::addmm 1"), ("layers.2", "aten::addmm 2")))
    schedule = schedule_of(STEP, {"b8": again})
    result = study.run_plan("checkpoint", replace(plan, schedule=schedule, endless=False)).result
    assert result.offloaded_bytes == 0
    assert result.iteration_time_ns - study.run("oracle").result.iteration_time_ns == 2 * 101_000
    with pytest.raises(InvalidInput, match="tensors that are made again"):
        _ = result.plan


def test_a_notebook_shows_what_was_captured(table: Comparison) -> None:
    html = make_study(STEP, gpu=GPU)._repr_html_()
    assert "captured step" in html
    assert "7, blocks of 58.7 MB may leave" in html
    assert "three (batch 4), captured on test-gpu" in table._repr_html_()
