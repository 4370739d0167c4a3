"""What was measured of other runtimes (experiments/pytorch/GPU/ways_*.md), beside their policies, and of a solver's
plan in PyTorch's own training (experiments/pytorch/optimal)."""

from __future__ import annotations

from pathlib import Path

import pytest

from vdnnsim import read_step
from vdnnsim.calibration.step_records import read_step_records
from vdnnsim.captured import build_step
from vdnnsim.gpu import read_profile
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.making import make_study
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.policies import decide, make_policy
from vdnnsim.pytorch.measuring import predicted
from vdnnsim.workloads import STEP_POOL

FOLDER = Path(__file__).parents[2] / "experiments/pytorch"
POLICIES = {"torchtune OffloadActivations": "torchtune(head=leaves)", "save_on_cpu(pin_memory=True)": "save-on-cpu"}
"""Theirs and ours."""


def measured(gpu: str, model: str) -> dict[str, list[str]]:
    """The ways with what was measured of each."""
    rows = [line.split(" | ") for line in (FOLDER / gpu / f"ways_{model}.md").read_text(encoding="utf-8").splitlines()]
    return {row[0].removeprefix("| "): row[1:7] for row in rows if len(row) > 6}


@pytest.mark.parametrize(("gpu", "model"), [("h100", "llama_b4"), ("h200", "gpt_124M_b16"), ("h200", "llama_b4")])
def test_peaks_are_theirs_and_times_within_two_percent(gpu: str, model: str) -> None:
    """Of what either of two runs took, which differ by up to 3 %; by captures of other machines of these kinds."""
    study = make_study(model if gpu == "h100" else f"{gpu}/{model}", gpu=gpu)
    step = study.workload.step
    ways = measured(gpu, model)
    for way, policy in POLICIES.items():
        first, again, _, peak_gb, _, reserved_gb = map(float, ways[way])
        program = build_step(step, decide(make_policy(policy), study.problem()).schedule)
        memory = study.workload.at_rest(program, study.workload.memory(STEP_POOL, ENDLESS_BYTES))
        assert memory is not None
        assert round(memory.requested_bytes / 1e9, 3) == peak_gb
        assert abs(memory.reserved_bytes / 1e9 / reserved_gb - 1) < 0.03
        time_ms = SimulatedMachine(study.trace, study.gpu).iteration_time_ns(program) / 1e6
        assert 0.98 * min(first, again) < time_ms < 1.02 * max(first, again)


@pytest.mark.parametrize("model", ["gpt_124M_b16", "llama_b4"])
@pytest.mark.parametrize("other", POLICIES)
def test_one_of_our_plans_is_faster_than_theirs_at_a_peak_no_higher(model: str, other: str) -> None:
    ways = measured("h200", model)
    their_ms, their_gb = min(map(float, ways[other][:2])), float(ways[other][3])
    ours = [row for way, row in ways.items() if way.startswith("vdnnsim") and float(row[3]) <= their_gb]
    assert ours
    assert min(max(map(float, row[:2])) for row in ours) < 0.93 * their_ms


def test_a_plan_of_a_solver_s_trained_by_hooks_is_simulated_again() -> None:
    folder = FOLDER / "optimal"
    _, measured = read_step_records(folder / "results.json")
    stored = measured.predicted
    profile = read_profile(folder / "link.toml").with_capacity(stored.capacity_bytes)
    ((now, _),) = predicted(read_step(folder / stored.model), profile, [str(folder / "plan.json")])
    assert (now.step_ns, now.requested_bytes) == (stored.step_ns, measured.requested_bytes)
    assert now.fits
    assert abs(measured.error) < 0.01
    assert measured.gradients == "equal"
