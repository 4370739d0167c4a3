"""The baseline's program: everything is allocated before the iteration, then kernels follow each other.

All maps, weights and saved data have buffers of their own; gradient maps and the workspace are shared, the workspace
as large as the largest over layers and passes (vDNN, the baseline's network-wide allocation). The host only waits
at the end of the iteration.
"""

from __future__ import annotations

from vdnnsim.network import Network
from vdnnsim.policies.plan import Plan
from vdnnsim.program.buffers import Buffers, WeightGradients, gradient_slots
from vdnnsim.program.commands import Buffer, Command, MemoryClass, Program, Step, Stream, Synchronise
from vdnnsim.program.kernels import KernelOrder

_SHARED = "network"


def build_network_wide(network: Network, plan: Plan, weight_gradients: WeightGradients) -> Program:
    """The program of a plan with network-wide layout."""
    buffers = Buffers(network)
    maps = list(network.maps.values())
    slots, operands = gradient_slots(buffers, maps, _SHARED)
    setup = [*buffers.all_weights(), *(buffers.feature_map(feature_map) for feature_map in maps)]
    setup += [buffers.saved(layer) for layer in network.layers if layer.saved_bytes]
    operands.update((buffer.name, buffer.name) for buffer in setup)
    setup += slots
    setup += _weight_gradients(buffers, weight_gradients, operands)
    workspace = _shared_workspace(plan)
    setup += [workspace] if workspace.size_bytes else []
    commands: list[Command] = []
    steps: list[Step] = []
    order = KernelOrder(network, plan, lambda *_: workspace)
    for backward in (False, True):
        for layer in reversed(network.layers) if backward else network.layers:
            first = len(commands)
            commands += order.backward(layer) if backward else order.forward(layer)
            steps.append(Step(layer.name, backward, network.in_classifier(layer.name), first, len(commands)))
    commands.append(Synchronise((Stream.COMPUTE,)))
    steps[-1] = steps[-1]._replace(last=len(commands))
    return Program(tuple(setup), tuple(commands), tuple(steps), operands, ())


def _weight_gradients(buffers: Buffers, choice: WeightGradients, operands: dict[str, str]) -> list[Buffer]:
    gradients = buffers.all_weight_gradients()
    if choice is WeightGradients.NONE or not gradients:
        return []
    if choice is WeightGradients.RESIDENT:
        operands.update((buffer.name, buffer.name) for buffer in gradients)
        return list(gradients)
    largest = max(gradients, key=lambda buffer: buffer.size_bytes)
    shared = largest._replace(name="weight gradient buffer")
    operands.update((buffer.name, shared.name) for buffer in gradients)
    return [shared]


def _shared_workspace(plan: Plan) -> Buffer:
    """As large as the largest; of 0 bytes, and then nobody's, where none is needed."""
    (layer, _), size_bytes = max(plan.workspaces.items(), key=lambda item: item[1], default=(("", ""), 0))
    return Buffer("workspace", size_bytes, MemoryClass.WORKSPACE, layer, False)
