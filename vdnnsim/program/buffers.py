"""Which buffers an iteration needs: one place that names and sizes them for both layouts."""

from __future__ import annotations

from enum import StrEnum

from vdnnsim.network import DATA, FeatureMap, Layer, Network
from vdnnsim.program.commands import (
    Buffer,
    MemoryClass,
    gradient_operand,
    map_operand,
    saved_operand,
    weight_gradient_operand,
    weights_operand,
)
from vdnnsim.program.kernels import gradient_targets


class WeightGradients(StrEnum):
    """How weight gradients are held; the paper leaves it open whether they count.

    PER_LAYER, the default, gives a layer's gradient room while its backward runs, as the public re-implementation of
    vDNN does (the update is applied at once); RESIDENT keeps all of them for the whole iteration, as frameworks
    do whose optimiser runs after backward; NONE leaves them out of the account.
    """

    PER_LAYER = "per-layer"
    RESIDENT = "resident"
    NONE = "none"


class Buffers:
    """Names and sizes of the buffers of one network."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._feature_maps: dict[str, Buffer] = {}
        self._gradient_maps: dict[str, Buffer] = {}

    def feature_map(self, feature_map: FeatureMap) -> Buffer:
        name = feature_map.name
        if name not in self._feature_maps:
            operand = map_operand(name)
            self._feature_maps[name] = self._of_map(feature_map, operand, MemoryClass.FEATURE_MAPS)
        return self._feature_maps[name]

    def gradient_map(self, feature_map: FeatureMap) -> Buffer:
        name = feature_map.name
        if name not in self._gradient_maps:
            operand = gradient_operand(name)
            self._gradient_maps[name] = self._of_map(feature_map, operand, MemoryClass.GRADIENT_MAPS)
        return self._gradient_maps[name]

    def weights(self, layer: Layer) -> Buffer:
        return self._of_layer(layer, weights_operand(layer.name), layer.weights_bytes, MemoryClass.WEIGHTS)

    def weight_gradient(self, layer: Layer) -> Buffer:
        name = weight_gradient_operand(layer.name)
        return self._of_layer(layer, name, layer.weight_gradients_bytes, MemoryClass.WEIGHT_GRADIENTS)

    def saved(self, layer: Layer) -> Buffer:
        """What forward keeps for backward beside X and Y; counted with the feature maps."""
        return self._of_layer(layer, saved_operand(layer.name), layer.saved_bytes, MemoryClass.FEATURE_MAPS)

    def workspace(self, layer: Layer, pass_: str, size_bytes: int) -> Buffer:
        return self._of_layer(layer, f"workspace:{layer.name}:{pass_}", size_bytes, MemoryClass.WORKSPACE)

    def has_gradient(self, feature_map: FeatureMap) -> bool:
        """Whether backward writes this map's gradient: not that of the input data, unless a kind of layer reads them
        that cannot leave it out."""
        if feature_map.name != DATA:
            return True
        return any(DATA in gradient_targets(self.network, self.network.by_name[name]) for name in feature_map.readers)

    def all_weights(self) -> tuple[Buffer, ...]:
        return tuple(self.weights(layer) for layer in self.network.layers if layer.weights_bytes)

    def all_weight_gradients(self) -> tuple[Buffer, ...]:
        return tuple(self.weight_gradient(layer) for layer in self.network.layers if layer.weight_gradients_bytes)

    def _of_map(self, feature_map: FeatureMap, name: str, memory_class: MemoryClass) -> Buffer:
        layer = (feature_map.writers or feature_map.readers)[0]
        return Buffer(name, feature_map.size_bytes, memory_class, layer, feature_map.in_classifier)

    def _of_layer(self, layer: Layer, name: str, size_bytes: int, memory_class: MemoryClass) -> Buffer:
        return Buffer(name, size_bytes, memory_class, layer.name, self.network.in_classifier(layer.name))


def gradient_slots(buffers: Buffers, maps: list[FeatureMap], region: str) -> tuple[list[Buffer], dict[str, str]]:
    """Shared buffers for the gradients of `maps`, and which gradient lies in which.

    A chain needs two, both as large as the largest gradient (paper: the baseline's shared dX and dY). Forks
    need further ones, each as large as the largest gradient it ever holds.
    """
    network = buffers.network
    position = network.position
    waiting = [feature_map for feature_map in maps if buffers.has_gradient(feature_map)]
    waiting.sort(key=lambda feature_map: -max(_reader_positions(network, feature_map)))
    busy_until: list[int] = []
    sizes: list[int] = []
    operands: dict[str, str] = {}
    for feature_map in waiting:
        begins = max(_reader_positions(network, feature_map))
        ends = min((position[name] for name in feature_map.writers), default=-1)
        slot = next((index for index, end in enumerate(busy_until) if end > begins), len(busy_until))
        if slot == len(busy_until):
            busy_until.append(ends)
            sizes.append(0)
        busy_until[slot] = ends
        sizes[slot] = max(sizes[slot], feature_map.size_bytes)
        operands[gradient_operand(feature_map.name)] = f"gradient buffer:{region}:{slot}"
    sizes[:2] = [max(sizes)] * len(sizes[:2]) if sizes else []
    in_classifier = bool(maps) and all(feature_map.in_classifier for feature_map in maps)
    slots = [
        Buffer(f"gradient buffer:{region}:{slot}", size, MemoryClass.GRADIENT_MAPS, region, in_classifier)
        for slot, size in enumerate(sizes)
    ]
    return slots, operands


def _reader_positions(network: Network, feature_map: FeatureMap) -> list[int]:
    return [network.position[name] for name in feature_map.readers] or [len(network.layers)]
