"""Plans in files: a policy of what another one decided, refused where it was made for something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured.steps import three_layers
from support.cases import conv, gpu_of, layer, linear_curve, network_of, trace_of
from support.commands import in_process
from support.damage import damaged, read_or_refuse
from support.examples import tries
from vdnnsim.comparing import compare_policies
from vdnnsim.errors import InvalidFile, InvalidInput
from vdnnsim.iteration import WeightGradients
from vdnnsim.making import make_study
from vdnnsim.network import Kind, Network
from vdnnsim.policies.stored import policy_in
from vdnnsim.study import Study
from vdnnsim.sweep.sources import policy_digests

SPECS = (conv("a"), conv("b", "a"), conv("c", "b"), layer(Kind.SOFTMAX, "s", "c"))
NETWORK = network_of(*SPECS)
NAMES = (
    "vdnn-all(p)",
    "vdnn-conv+recompute",
    "dtr",
    "cdma(vdnn-all(p), density=0.5)",
    "uvm",
    "save-on-cpu",
    "optimal(seconds=1)",
)


def study_of(network: Network) -> Study:
    return Study(network, trace_of(network), gpu_of(5000))  # type: ignore[arg-type]


STUDY = study_of(NETWORK)


def stored(folder: Path, policy: str = "vdnn-all(p)", study: Study = STUDY) -> str:
    path = folder / "plan.json"
    compare_policies(study, [policy]).save_plan(policy, path)
    return str(path)


@pytest.mark.parametrize("policy", NAMES)
def test_a_stored_plan_runs_as_it_did(policy: str, tmp_path: Path) -> None:
    comparison = compare_policies(STUDY, [policy])
    (run,) = comparison.runs
    comparison.save_plan(policy, tmp_path / "plan.json")
    again = STUDY.run(str(tmp_path / "plan.json"))
    assert again.plan == replace(run.plan, trials=())
    assert again.timeline == run.timeline


def test_what_a_solver_proved_goes_no_further_than_its_machine(tmp_path: Path) -> None:
    plan = stored(tmp_path, "optimal(seconds=1)")
    assert STUDY.run(plan).plan.bound is not None
    slower = replace(STUDY, gpu=replace(STUDY.gpu, link=replace(STUDY.gpu.link, copy_out=linear_curve(900))))
    assert slower.run(plan).plan.bound is None


@pytest.mark.parametrize(
    ("study", "found"),
    [
        (lambda: study_of(replace(NETWORK, name="other")), "network: found other, expected the plan's"),
        (lambda: study_of(network_of(*SPECS, batch=2)), "batch: found 2, expected the plan's 1; plan again with"),
        (lambda: study_of(network_of(*SPECS, channels=2)), "network_sha256: found "),
        (lambda: replace(STUDY, weight_gradients=WeightGradients.NONE), "weight gradients: found none, expected"),
        (
            lambda: make_study(three_layers(), gpu=gpu_of()),
            "plan.json: found three, a captured step; expected the plan's small",
        ),
    ],
)
def test_a_plan_for_something_else_is_refused_with_the_first_difference(
    study: Callable[[], Study], found: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=found):
        study().run(stored(tmp_path))


def test_a_plan_for_another_gpu_is_refused(tmp_path: Path) -> None:
    plan = Path(stored(tmp_path))
    plan.write_text(plan.read_text().replace('"gpu": "test-gpu"', '"gpu": "h100"'))
    with pytest.raises(InvalidInput, match="gpu: found test-gpu, expected the plan's h100"):
        STUDY.run(str(plan))


def test_a_plan_of_a_captured_step_is_a_policy_too(tmp_path: Path) -> None:
    study = make_study(three_layers(), gpu=gpu_of())
    plan = stored(tmp_path, "vdnn-all", study)
    assert study.run(plan).timeline == study.run("vdnn-all").timeline
    with pytest.raises(
        InvalidInput, match="found small, a network of layers; expected the plan's captured step, three"
    ):
        STUDY.run(plan)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"results": []}', "found a result of compare or run; expected a plan of a network"),
        ("[]", "found an array; expected a plan of a network"),
        ("{", "expected well-formed JSON"),
    ],
)
def test_what_is_no_plan_is_told_in_a_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InvalidFile) as error:
        policy_in(str(tmp_path / "plan.json"))
    assert told in str(error.value)


@settings(max_examples=tries(20))
@given(data=st.data())
def test_a_damaged_plan_is_refused_or_runs(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("damaged") / "plan.json"
    whole = Path(stored(path.parent, "vdnn-conv+recompute")).read_bytes()
    path.write_bytes(data.draw(damaged(whole)))
    read_or_refuse(lambda path: STUDY.run(str(path)), path)


def test_the_commands_write_and_run_a_plan_of_a_network(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    asked = ["alexnet", "--batch", "128", "--gpu", "titan-x-maxwell"]
    done = in_process(["plan", *asked, "--policy", "vdnn-dyn", "--capacity", "800MB", "--out", str(plan)])
    assert (done.code, done.err) == (0, "")
    assert " maps leave, " in done.out
    assert json.loads(plan.read_text())["policy"] == "vdnn-dyn"
    done = in_process(["compare", *asked, "--policies", f"{plan}, vdnn-dyn", "--capacity", "800MB", "--json", "-"])
    first, second = json.loads(done.out)["results"]
    assert (first["policy"], first["iteration_time_ns"]) == (str(plan), second["iteration_time_ns"])
    assert in_process(["check", str(plan)]).out == f"{plan}: plan of vdnn-dyn for alexnet: no faults\n"


def test_sweeps_tell_a_changed_plan_from_the_one_before(tmp_path: Path) -> None:
    before = policy_digests([stored(tmp_path)])
    assert policy_digests([stored(tmp_path)]) == before
    assert policy_digests([stored(tmp_path, "baseline(p)")]) != before
