"""`vdnnsim plan`: a policy's plan for a captured training step, as a file for the training itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdnnsim.cli import options
from vdnnsim.cli.machine import Machine, on_machine
from vdnnsim.cli.outputs import check_targets
from vdnnsim.errors import InvalidInput

if TYPE_CHECKING:
    from vdnnsim.results import PolicyResult


@on_machine
def plan_command(
    folder: options.Step,
    gpu: options.Gpu,
    machine: Machine,
    policy: options.Policy,
    out: Annotated[Path, typer.Option("--out", help="The plan to write (.json).")],
) -> None:
    """Write what a policy has leave, when, and back when: what training takes.

    A plan that does not fit into the memory is not written.
    """
    from vdnnsim.captured import folder_of, is_steps
    from vdnnsim.comparing import compare
    from vdnnsim.network import NETWORKS

    found = folder_of(folder)
    if found is None and (str(folder) in NETWORKS or folder.suffix == ".toml"):
        raise InvalidInput(
            f"{folder}: found a network of layers, which has no plan file, since a plan is carried out in a PyTorch "
            "training; expected a captured step: vdnnsim capture SCRIPT --out DIR; what a policy decides for a network "
            "is in vdnnsim run NETWORK --policy POLICY --json FILE"
        )
    if found is None:
        raise InvalidInput(f"{folder}: found no folder, expected that of a captured step, or the name of one")
    if is_steps(found):
        raise InvalidInput(f"{folder}: found captures of several batches, expected one: name the folder of one of them")
    check_targets({"--out": str(out)})
    comparison = compare(folder, gpu=gpu, policies=policy, **machine)
    (run,) = comparison.runs
    result = run.result
    if run.plan.endless:
        raise InvalidInput(
            f"plan of {result.policy} for {folder}: found memory without end, which no GPU has; expected a policy that "
            "lives with the GPU's; where nothing has to leave that is baseline; nothing is written"
        )
    if not result.trainable:
        raise InvalidInput(f"plan of {result.policy} for {folder}: does not train: {result.reason}; nothing is written")
    result.plan.save(out)
    typer.echo(_in_words(out, result, comparison.network))


def _in_words(out: Path, result: PolicyResult, step: str) -> str:
    from vdnnsim.units import format_bytes, format_ms

    plan, memory = result.plan, result.memory
    taken = f" (took {result.trials[-1].title})" if result.trials else ""
    held = f", {format_bytes(memory.reserved_bytes)} reserved" if memory else ""
    leaves = (
        f"{len(plan.leaving)} blocks leave, {format_bytes(plan.pinned_bytes)} of pinned host memory"
        if plan.leaving
        else "nothing leaves, training is as without it"
    )
    return (
        f"{out}: {result.policy}{taken} for {step}: {leaves}; predicted {format_ms(result.iteration_time_ns)} a "
        f"step, {100 * result.performance:.1f} % of the oracle's speed, peak {format_bytes(result.peak_bytes)} "
        f"requested{held}"
    )
