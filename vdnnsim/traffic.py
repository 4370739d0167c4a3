"""How many bytes the kernels of a layer touch, and what bandwidth of the device memory they need at least.

    bandwidth of a pass = (bytes of every operand read + bytes of every operand written + 2 x workspace) / time

An operand is a whole tensor (X, Y, dX, dY, W, dW, what forward saved) and counts once for reading and once for writing;
one that is added to counts as both. A workspace is written once and read once. This is a lower bound: caches may miss
more than once, and a workspace that is used in several steps moves more bytes than it holds.
"""

from __future__ import annotations

from typing import NamedTuple

from vdnnsim.network import weight_gradient_operand
from vdnnsim.program import Kernel, WeightGradients, operands_of
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study


class LayerTraffic(NamedTuple):
    """Forward or backward of one layer.

    `touched_bytes`: X, Y, their gradients as far as its kernels read or write them, its weights, their gradients where
    the study counts them, and the largest workspace of its passes: what must be on the GPU while it runs, and no more.
    `bandwidth_bytes_per_s`: of the pass that needs most; 0 where none takes any time.
    """

    layer: str
    backward: bool
    touched_bytes: int
    bandwidth_bytes_per_s: float


def layer_traffic(study: Study, run: PolicyRun) -> tuple[LayerTraffic, ...]:
    """The traffic of every step of a study's run, in their order."""
    sizes = {name: buffer.size_bytes for name, buffer in study.iteration.buffers.items()}
    times_ns = {(record.layer, record.pass_): record.end_ns - record.begin_ns for record in run.timeline.kernels}
    found = []
    for step in run.program.steps:
        touched: set[str] = set()
        workspaces = [0]
        bandwidth = 0.0
        for command in run.program.commands[step.first : step.last]:
            if not isinstance(command, Kernel):
                continue
            operands = operands_of(study.network, command)
            touched |= operands.reads | operands.writes
            workspaces.append(run.plan.workspaces.get((command.layer, command.pass_), 0))
            moved_bytes = sum(sizes[name] for part in (operands.reads, operands.writes) for name in part)
            moved_bytes += 2 * workspaces[-1]
            if time_ns := times_ns[command.layer, command.pass_]:
                bandwidth = max(bandwidth, moved_bytes / time_ns * 1e9)
        if study.weight_gradients is WeightGradients.NONE:
            touched.discard(weight_gradient_operand(step.layer))
        touched_bytes = sum(sizes[operand] for operand in touched) + max(workspaces)
        found.append(LayerTraffic(step.layer, step.backward, touched_bytes, bandwidth))
    return tuple(found)
