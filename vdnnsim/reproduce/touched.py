"""How many bytes the kernels of one layer touch: what must be on the GPU while it runs, and no more."""

from __future__ import annotations

from vdnnsim.network import Network
from vdnnsim.program import Kernel, WeightGradients, operands_of
from vdnnsim.program.commands import (
    gradient_operand,
    map_operand,
    saved_operand,
    weight_gradient_operand,
    weights_operand,
)
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study


def operand_sizes(network: Network) -> dict[str, int]:
    """Bytes of everything that kernels read and write, by operand name."""
    sizes = {}
    for feature_map in network.maps.values():
        sizes[map_operand(feature_map.name)] = feature_map.size_bytes
        sizes[gradient_operand(feature_map.name)] = feature_map.size_bytes
    for layer in network.layers:
        sizes[weights_operand(layer.name)] = layer.weights_bytes
        sizes[weight_gradient_operand(layer.name)] = layer.weight_gradients_bytes
        sizes[saved_operand(layer.name)] = layer.saved_bytes
    return sizes


def most_touched_bytes(run: PolicyRun, study: Study) -> int:
    """The most bytes that one layer's forward or backward touches: X, Y, their gradients as far as its kernels read or
    write them, its weights, and the largest workspace of its passes. Weight gradients count where the study counts
    them."""
    sizes = operand_sizes(study.network)
    program = run.program
    most = 0
    for step in program.steps:
        operands: set[str] = set()
        workspace_bytes = 0
        for command in program.commands[step.first : step.last]:
            if isinstance(command, Kernel):
                touched = operands_of(study.network, command)
                operands |= touched.reads | touched.writes
                workspace_bytes = max(workspace_bytes, run.plan.workspaces.get((command.layer, command.pass_), 0))
        if study.weight_gradients is WeightGradients.NONE:
            operands.discard(weight_gradient_operand(step.layer))
        most = max(most, workspace_bytes + sum(sizes[operand] for operand in operands))
    return most
