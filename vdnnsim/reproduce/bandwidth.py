"""Device-memory bandwidth of each layer, from the bytes that its kernels cannot avoid moving.

    bandwidth of a pass = (bytes of every operand read + bytes of every operand written + 2 x workspace) / time

An operand is a whole tensor (X, Y, dX, dY, W, dW, what forward saved) and counts once for reading and once for writing;
one that is added to counts as both. A workspace is written once and read once. This is a lower bound: caches may miss
more than once, and a workspace that is used in several steps moves more bytes than it holds.
"""

from __future__ import annotations

from vdnnsim.program import Kernel, operands_of
from vdnnsim.reproduce.touched import operand_sizes
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study


def layer_bandwidths(run: PolicyRun, study: Study) -> dict[str, dict[str, float]]:
    """By layer, the bytes per second of forward and of the pass of backward that needs most."""
    sizes = operand_sizes(study.network)
    commands = {
        (command.layer, command.pass_): command for command in run.program.commands if isinstance(command, Kernel)
    }
    rates: dict[str, dict[str, float]] = {}
    for record in run.timeline.kernels:
        operands = operands_of(study.network, commands[record.layer, record.pass_])
        moved_bytes = sum(sizes[name] for name in operands.reads) + sum(sizes[name] for name in operands.writes)
        moved_bytes += 2 * run.plan.workspaces.get((record.layer, record.pass_), 0)
        duration_ns = record.end_ns - record.begin_ns
        series = "forward" if record.pass_ == "forward" else "backward"
        layer = rates.setdefault(record.layer, {"forward": 0.0, "backward": 0.0})
        if duration_ns:
            layer[series] = max(layer[series], moved_bytes / duration_ns * 1e9)
    return rates
