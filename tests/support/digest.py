"""One line for each run of a policy that changes if a single bit of what it gives changes.

As a program, `python -m support.digest NETWORK BATCH POLICY...` prints them, to compare processes with each other.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import fields

from support.render import command_line
from vdnnsim.comparing import compare
from vdnnsim.results import PolicyRun


def digest(run: PolicyRun) -> str:
    """A hash of the program, the timeline, the steps and all numbers of the result; sets count in sorted order."""
    program = run.program
    result = {entry.name: getattr(run.result, entry.name) for entry in fields(run.result) if entry.name != "trials"}
    trials = [(*trial[:1], *trial[2:]) for trial in run.result.trials]  # without the plan
    plan = (run.plan.layout, sorted(run.plan.offload), sorted(run.plan.deferred), list(run.plan.algorithms.items()))
    whole = (
        program.setup,
        [command_line(command) for command in program.commands],
        program.steps,
        list(program.operands.items()),
        program.offloaded,
        [getattr(run.timeline, entry.name) for entry in fields(run.timeline)],
        run.steps,
        result,
        trials,
        plan,
    )
    return f"{run.result.policy} {hashlib.sha256(repr(whole).encode()).hexdigest()}"


def digests(network: str, batch: int, policies: list[str]) -> list[str]:
    comparison = compare(network, batch=batch, gpu="titan-x-maxwell", policies=policies)
    return [digest(run) for run in comparison.runs]


if __name__ == "__main__":
    print("\n".join(digests(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
