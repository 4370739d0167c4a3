"""`vdnnsim plan`: a policy's plan as a file: for the training itself, where it is of a captured step, and a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vdnnsim.cli import options
from vdnnsim.cli.comparing import compared_by_names
from vdnnsim.cli.machine import Machine, on_machine
from vdnnsim.cli.outputs import check_targets
from vdnnsim.errors import InvalidInput

if TYPE_CHECKING:
    from vdnnsim.results import Comparison, PolicyRun


@on_machine
def plan_command(
    network: options.Workload,
    gpu: options.Gpu,
    policy: options.Policy,
    out: Annotated[Path, typer.Option("--out", help="The plan to write (.json).")],
    *,
    batch: options.OwnBatch = None,
    machine: Machine,
    math: options.OwnMath = None,
    weight_gradients: options.WeightGradients = "per-layer",
    trace: options.TraceFile = None,
    traces: options.TraceFolders = None,
) -> None:
    """Write what a policy has leave, when, and back when: of a captured step, training takes it.

    A plan that does not fit into the memory is not written. run, compare and others take the file as a policy.
    """
    from vdnnsim.captured import folder_of, is_steps

    found = folder_of(network)
    if found is not None and is_steps(found):
        raise InvalidInput(
            f"{network}: found captures of several batches, expected one: name the folder of one of them"
        )
    if out.suffix != ".json":
        raise InvalidInput(f"--out: found '{out}', expected a name that ends in .json")
    check_targets({"--out": str(out)})
    hardware = {"gpu": gpu, **machine}
    comparison = compared_by_names(network, batch, [policy], hardware, math, weight_gradients, trace, traces)
    (run,) = comparison.runs
    result = run.result
    if run.plan.endless:
        raise InvalidInput(
            f"plan of {result.policy} for {network}: found memory without end, which no GPU has; expected a policy "
            "that lives with the GPU's; where nothing has to leave that is baseline; nothing is written"
        )
    if not result.trainable:
        raise InvalidInput(
            f"plan of {result.policy} for {network}: does not train: {result.reason}; nothing is written"
        )
    comparison.save_plan(result.policy, out)
    typer.echo(_in_words(out, run, comparison))


def _in_words(out: Path, run: PolicyRun, comparison: Comparison) -> str:
    from vdnnsim.units import format_bytes, format_ms

    result, schedule, memory = run.result, run.plan.schedule, run.result.memory
    taken = f" (took {result.trials[-1].title})" if result.trials else ""
    held = f", {format_bytes(memory.reserved_bytes)} reserved" if memory else ""
    what, once = ("blocks", "a step") if comparison.captured else ("maps", "an iteration")
    again = len(schedule.actions) - len(schedule.leaves)
    leaves = (
        f"{len(schedule.leaves)} {what} leave, {format_bytes(result.pinned_host_bytes)} of pinned host memory"
        + (f", {again} are made again" if again else "")
        if schedule.actions
        else "nothing leaves, training is as without it"
    )
    return (
        f"{out}: {result.policy}{taken} for {comparison.network}: {leaves}; predicted "
        f"{format_ms(result.iteration_time_ns)} {once}, {100 * result.performance:.1f} % of the oracle's speed, peak "
        f"{format_bytes(result.peak_bytes)} requested{held}"
    )
