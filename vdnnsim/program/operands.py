"""What each kernel reads and writes, in the program's operand names; the pools' and machines' proofs rest on it."""

from __future__ import annotations

from typing import NamedTuple

from vdnnsim.network import Kind, Layer, Network
from vdnnsim.network.layers import READS_X_IN_BACKWARD, READS_Y_IN_BACKWARD
from vdnnsim.program.commands import (
    Kernel,
    gradient_operand,
    map_operand,
    saved_operand,
    weight_gradient_operand,
    weights_operand,
)
from vdnnsim.program.kernels import gradient_targets


class Operands(NamedTuple):
    """Operand names that a kernel reads, and that it writes; one that it adds to is in both."""

    reads: frozenset[str]
    writes: frozenset[str]


def operands_of(network: Network, kernel: Kernel) -> Operands:
    """The operands of one kernel of the network's program."""
    layer = network.by_name[kernel.layer]
    inputs = [map_operand(feature_map.name) for feature_map in network.input_maps(layer)]
    output = map_operand(network.output_map(layer).name)
    own_gradient = gradient_operand(network.output_map(layer).name)
    if kernel.pass_ == "forward":
        return _forward(layer, inputs, output, layer.name in network.in_place, kernel.again)
    if kernel.pass_ == "backward_sum":
        return Operands(frozenset({own_gradient}), frozenset({own_gradient}))
    reads = {own_gradient} if layer.kind != Kind.SOFTMAX else set()
    writes = set()
    filters = kernel.pass_ in ("backward_filter", "backward")
    data = kernel.pass_ in ("backward_data", "backward")
    if layer.weight_gradients_bytes and filters:
        writes.add(weight_gradient_operand(layer.name))
    if layer.weights_bytes and data:
        reads.add(weights_operand(layer.name))
    if layer.kind in READS_X_IN_BACKWARD and filters:
        reads.update(inputs)
    if layer.kind in READS_Y_IN_BACKWARD:
        reads.add(output)
    if layer.saved_bytes:
        reads.add(saved_operand(layer.name))
    if data:
        writes.update(gradient_operand(name) for name in gradient_targets(network, layer))
        reads.update(gradient_operand(name) for name in kernel.accumulates)
        if layer.name in network.in_place:
            writes.add(own_gradient)
    return Operands(frozenset(reads), frozenset(writes))


def _forward(layer: Layer, inputs: list[str], output: str, in_place: bool, again: bool) -> Operands:
    """Run again, DROPOUT applies the mask that it saved, and BN leaves what it saved alone."""
    reads = {*inputs, *([output] if in_place else [])}
    writes = {output}
    if layer.weights_bytes:
        reads.add(weights_operand(layer.name))
    if layer.saved_bytes and not again:
        writes.add(saved_operand(layer.name))
    elif layer.kind == Kind.DROPOUT:
        reads.add(saved_operand(layer.name))
    return Operands(frozenset(reads), frozenset(writes))
