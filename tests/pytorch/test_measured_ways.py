"""What was measured of other runtimes on the H100 (experiments/pytorch/h100/ways_*.md), beside their policies."""

from __future__ import annotations

from pathlib import Path

from vdnnsim.captured import build_step
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.making import make_study
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.policies import decide, make_policy
from vdnnsim.workloads import STEP_POOL

FOLDER = Path(__file__).parents[2] / "experiments/pytorch/h100"
POLICIES = {
    "torchtune OffloadActivations": "torchtune(head=leaves)",
    "save_on_cpu(pin_memory=True)": "save-on-cpu",
}


def test_on_llama_peaks_are_theirs_and_torchtunes_time_within_two_percent() -> None:
    """save_on_cpu's two runs differ by 3 %; ours is within 2 % of the quicker one, and 5 % of the other."""
    study = make_study("llama_b4", gpu="h100")
    step = study.workload.step
    rows = [line.split(" | ") for line in (FOLDER / "ways_llama_b4.md").read_text().splitlines()]
    times = {row[0].removeprefix("| "): row[1:6] for row in rows if len(row) > 5}
    for way, policy in POLICIES.items():
        first, again, _, peak_gb, _ = map(float, times[way])
        program = build_step(step, decide(make_policy(policy), study.problem()).schedule)
        memory = study.workload.at_rest(program, study.workload.memory(STEP_POOL, ENDLESS_BYTES))
        assert memory is not None
        assert round(memory.requested_bytes / 1e9, 3) == peak_gb
        time_ns = SimulatedMachine(study.trace, study.gpu).iteration_time_ns(program)
        assert abs(time_ns / 1e6 / min(first, again) - 1) < 0.02
