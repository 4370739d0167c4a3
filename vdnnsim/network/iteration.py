"""From a CNN to operators and tensors: what each kernel of a layer reads and writes, the one place that says so.

Blocks are feature maps ("map:conv1"), their gradients ("gradient:conv1"), weights and their gradients, and what forward
keeps beside X and Y ("saved:conv1"). CONV has its filter gradient first, then its data gradient, one after the other
(vDNN). Training needs no gradient of the input data: CONV and FC leave it out, other kinds make it with the same
kernel as the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator

from vdnnsim.iteration import Buffer, Iteration, Key, MemoryClass, Operator, Stage, Tensor
from vdnnsim.network.graph import FeatureMap, Network
from vdnnsim.network.layers import (
    DATA,
    ELEMENT_BYTES,
    READS_X_IN_BACKWARD,
    READS_Y_IN_BACKWARD,
    Kind,
    Layer,
)

BACKWARD_ORDER = ("backward_sum", "backward_filter", "backward_data", "backward")
WRITES_GRADIENT = frozenset({"backward_data", "backward"})
_MASK_BYTES = 1


def map_operand(map_name: str) -> str:
    return f"map:{map_name}"


def gradient_operand(map_name: str) -> str:
    return f"gradient:{map_name}"


def weights_operand(layer: str) -> str:
    return f"weights:{layer}"


def weight_gradient_operand(layer: str) -> str:
    return f"weight gradient:{layer}"


def saved_operand(layer: str) -> str:
    return f"saved:{layer}"


def iteration_of(network: Network, passes: frozenset[Key]) -> Iteration:
    """One iteration of the network with the operators of these (layer, pass); made once, and kept with the network."""
    if passes not in network.iterations:
        network.iterations[passes] = _iteration(network, passes)
    return network.iterations[passes]


def operator_of(
    network: Network, layer: str, pass_: str, accumulates: Collection[str] = (), again: bool = False
) -> Operator:
    """One operator alone, which adds to the gradients of these maps, or runs again in the same iteration."""
    position = network.position[layer]
    if pass_ == "forward":
        return _forward(network, network.layers[position], position, again)
    written = {gradient_operand(name) for name in accumulates}
    return _backward(network, network.layers[position], pass_, 2 * len(network.layers) - 1 - position, written)


def _iteration(network: Network, passes: Container[Key]) -> Iteration:
    operators = tuple(_operators(network, passes))
    touched = {name for operator in operators for name in (*operator.reads, *operator.writes)}
    unread = (found.name for found in network.maps.values() if found.writers and not found.readers)
    touched.update(map(gradient_operand, unread))  # the loss needs no dY; the paper's baseline has room for it
    tensors = {
        tensor.buffer.name: tensor for tensor in _tensors(network) if tensor.buffer.name in touched or _given(tensor)
    }
    inputs = frozenset(name for name, tensor in tensors.items() if _given(tensor) or name == map_operand(DATA))
    again = {
        (layer.name, "forward"): _forward(network, layer, number, again=True)
        for number, layer in enumerate(network.layers)
    }
    return Iteration(tuple(_stages(network)), operators, tensors, inputs, again)


def gradient_targets(network: Network, layer: Layer) -> tuple[str, ...]:
    """The maps whose gradient the layer's backward writes: those of its X, each once."""
    skips_data = layer.kind in (Kind.CONV, Kind.FC)
    names = (feature_map.name for feature_map in network.input_maps(layer))
    return tuple(name for name in names if not (skips_data and name == DATA))


def _given(tensor: Tensor) -> bool:
    return tensor.buffer.memory_class is MemoryClass.WEIGHTS


def _stages(network: Network) -> Iterator[Stage]:
    last = 2 * len(network.layers) - 1
    for number in range(last + 1):
        backward = number >= len(network.layers)
        forward = last - number if backward else number
        layer = network.layers[forward]
        inputs = tuple(map_operand(feature_map.name) for feature_map in network.input_maps(layer))
        yield Stage(layer.name, backward, network.in_classifier(layer.name), layer.kind.value, inputs, forward)


def _operators(network: Network, passes: Container[Key]) -> Iterator[Operator]:
    for number, layer in enumerate(network.layers):
        if (layer.name, "forward") in passes:
            yield _forward(network, layer, number)
    written: set[str] = set()
    for number, layer in enumerate(reversed(network.layers), len(network.layers)):
        for pass_ in BACKWARD_ORDER:
            if (layer.name, pass_) in passes:
                operator = _backward(network, layer, pass_, number, written)
                if pass_ in WRITES_GRADIENT:
                    written.update(operator.writes)
                yield operator


def _forward(network: Network, layer: Layer, stage: int, again: bool = False) -> Operator:
    """Run again, it makes the same Y: DROPOUT applies the mask that it saved, BN leaves what it saved alone."""
    output = map_operand(network.output_map(layer).name)
    reads = [map_operand(feature_map.name) for feature_map in network.input_maps(layer)]
    if layer.name in network.in_place:
        reads.append(output)
    if layer.weights_bytes:
        reads.append(weights_operand(layer.name))
    if again and layer.kind == Kind.DROPOUT:
        reads.append(saved_operand(layer.name))
    writes = (output, saved_operand(layer.name)) if layer.saved_bytes and not again else (output,)
    return Operator(layer.name, "forward", stage, tuple(reads), writes)


def _backward(network: Network, layer: Layer, pass_: str, stage: int, written: set[str]) -> Operator:
    output = network.output_map(layer).name
    own_gradient = gradient_operand(output)
    if pass_ == "backward_sum":
        return Operator(layer.name, pass_, stage, (own_gradient,), (own_gradient,))
    filters = pass_ in ("backward_filter", "backward")
    data = pass_ in WRITES_GRADIENT
    reads = [own_gradient] if layer.kind != Kind.SOFTMAX else []
    writes = []
    adds: frozenset[str] = frozenset()
    if layer.kind in READS_X_IN_BACKWARD and filters:
        reads += [map_operand(feature_map.name) for feature_map in network.input_maps(layer)]
    if layer.kind in READS_Y_IN_BACKWARD:
        reads.append(map_operand(output))
    if layer.saved_bytes:
        reads.append(saved_operand(layer.name))
    if data:
        writes += [gradient_operand(name) for name in gradient_targets(network, layer)]
        adds = frozenset(written.intersection(writes))
        reads += sorted(adds)
        if layer.weights_bytes:
            reads.append(weights_operand(layer.name))
        if layer.name in network.in_place:
            writes.append(own_gradient)
    if layer.weight_gradients_bytes and filters:
        writes.append(weight_gradient_operand(layer.name))
    return Operator(layer.name, pass_, stage, tuple(dict.fromkeys(reads)), tuple(writes), adds)


def _tensors(network: Network) -> Iterator[Tensor]:
    layers, maps = network.layers, network.maps.values()
    for layer in layers:
        if layer.weight_gradients_bytes:
            name = weight_gradient_operand(layer.name)
            yield _of_layer(network, layer, name, layer.weight_gradients_bytes, MemoryClass.WEIGHT_GRADIENTS)
    for feature_map in maps:
        yield _of_map(feature_map, map_operand(feature_map.name), MemoryClass.FEATURE_MAPS)
    for feature_map in maps:
        yield _of_map(feature_map, gradient_operand(feature_map.name), MemoryClass.GRADIENT_MAPS)
    for layer in layers:
        if layer.saved_bytes:
            width = _MASK_BYTES if layer.kind == Kind.DROPOUT else ELEMENT_BYTES
            name = saved_operand(layer.name)
            yield _of_layer(network, layer, name, layer.saved_bytes, MemoryClass.FEATURE_MAPS, width)
    for layer in layers:
        if layer.weights_bytes:
            yield _of_layer(network, layer, weights_operand(layer.name), layer.weights_bytes, MemoryClass.WEIGHTS)


def _of_map(feature_map: FeatureMap, name: str, memory_class: MemoryClass) -> Tensor:
    layer = (feature_map.writers or feature_map.readers)[0]
    buffer = Buffer(name, feature_map.size_bytes, memory_class, layer, feature_map.in_classifier)
    return Tensor(buffer, ELEMENT_BYTES, feature_map.writers)


def _of_layer(
    network: Network,
    layer: Layer,
    name: str,
    size_bytes: int,
    memory_class: MemoryClass,
    element_bytes: int = ELEMENT_BYTES,
) -> Tensor:
    return Tensor(Buffer(name, size_bytes, memory_class, layer.name, network.in_classifier(layer.name)), element_bytes)
