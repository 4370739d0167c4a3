"""The network as a graph: order, feature maps, who writes and who reads each, and where a map is needed again.

A *feature map* is one block of memory. Several layers may share it: an in-place layer (ACTV, DROPOUT) writes over
its input, and the inputs of a CONCAT are written straight into channel slices of the CONCAT's map, so that neither
owns a map (vDNN does the same for ACTV and CONCAT). Both need that nobody else reads the map in between, in
backward either; where somebody does, the layer gets a map of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappush
from types import MappingProxyType
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Iteration, Key
from vdnnsim.network.layers import (
    DATA,
    READS_X_IN_BACKWARD,
    READS_Y_IN_BACKWARD,
    Kind,
    Layer,
    LayerFault,
    LayerSpec,
    Shape,
    infer_layer,
    shape_bytes,
)

IN_PLACE = frozenset({Kind.ACTV, Kind.DROPOUT})


class View(NamedTuple):
    """Where a layer's output lies: `channels` channels of the map called `map_name`, from `channel_offset` on."""

    map_name: str
    channel_offset: int
    channels: int


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """One block of feature-map memory.

    `writers` are the layers that write it in forward, in order (none for the input data); `readers` the layers whose X
    it is, in order. Its reference count (vDNN's, for forks) is the number of readers. `backward_users` are the layers
    whose backward kernels read it, as X or as Y, in network order: backward meets the first of them last.
    """

    name: str
    shape: Shape
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    backward_users: tuple[str, ...]
    in_classifier: bool

    @property
    def size_bytes(self) -> int:
        return shape_bytes(self.shape)


@dataclass(frozen=True)
class Network:
    """Layers in topological order, with the maps between them. Build one with `build_network`."""

    name: str
    batch: int
    input_shape: Shape
    layers: tuple[Layer, ...]
    views: Mapping[str, View]
    maps: Mapping[str, FeatureMap]
    in_place: frozenset[str]

    def __repr__(self) -> str:
        return f"<Network {self.name}, batch {self.batch}: {len(self.layers)} layers>"

    def __reduce__(self) -> tuple[type[Network], tuple[object, ...]]:
        """Networks travel to other processes; read-only views of dicts do not, the dicts do."""
        fields = (self.name, self.batch, self.input_shape, self.layers, dict(self.views), dict(self.maps))
        return Network, (*fields, self.in_place)

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        return MappingProxyType({layer.name: layer for layer in self.layers})

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Place of each layer in the order, from 0."""
        return MappingProxyType({layer.name: index for index, layer in enumerate(self.layers)})

    @cached_property
    def classifier_start(self) -> int:
        """Position of the first FC (or of the loss where there is none): vDNN manages the layers before it."""
        kinds = [layer.kind for layer in self.layers]
        return kinds.index(Kind.FC) if Kind.FC in kinds else kinds.index(Kind.SOFTMAX)

    @cached_property
    def iterations(self) -> dict[frozenset[Key], Iteration]:
        """Kept by `iteration_of`: one iteration of the network by the operators that it has."""
        return {}

    @cached_property
    def passes(self) -> tuple[Key, ...]:
        """Every (layer, pass) that training may run: those of each layer's kind and the sum of its gradients, less the
        data gradient of what reads only the network's input, which training does not need."""
        return tuple(
            (layer.name, pass_)
            for layer in self.layers
            for pass_ in (*layer.passes, "backward_sum")
            if pass_ != "backward_data" or any(name != DATA for name in layer.inputs)
        )

    def in_classifier(self, layer_name: str) -> bool:
        return self.position[layer_name] >= self.classifier_start

    def input_maps(self, layer: Layer) -> tuple[FeatureMap, ...]:
        """The maps of the layer's X, each once; none for a layer that works in place or is only a view."""
        return self._input_maps[layer.name]

    @cached_property
    def _input_maps(self) -> Mapping[str, tuple[FeatureMap, ...]]:
        found = {}
        for layer in self.layers:
            own = self.views[layer.name].map_name
            names = dict.fromkeys(self.views[name].map_name for name in layer.inputs)
            found[layer.name] = tuple(self.maps[name] for name in names if name != own)
        return found

    def output_map(self, layer: Layer) -> FeatureMap:
        return self.maps[self.views[layer.name].map_name]

    @property
    def weights_bytes(self) -> int:
        return sum(layer.weights_bytes for layer in self.layers)


def build_network(name: str, input_shape: Shape, specs: Iterable[LayerSpec]) -> Network:
    """A checked network from its layers, in any order that has none before its inputs or none at all.

    Raises `LayerFault` for a name used twice, an unknown input, a cycle, shapes that do not fit, an output that
    nobody reads, or a network that does not end in SOFTMAX.
    """
    ordered = _topological_order(list(specs))
    shapes: dict[str, Shape] = {DATA: input_shape}
    layers = []
    for spec in ordered:
        layer = infer_layer(spec, tuple(shapes[source] for source in spec.inputs))
        shapes[spec.name] = layer.output_shape
        layers.append(layer)
    consumers = _consumers(layers)
    _check_ends(layers, consumers)
    views, in_place = _place_outputs(layers, consumers)
    views[DATA] = View(DATA, 0, input_shape[1])
    without_maps = Network(
        name, input_shape[0], input_shape, tuple(layers), MappingProxyType(views), {}, frozenset(in_place)
    )
    return replace(without_maps, maps=MappingProxyType(_feature_maps(without_maps)))


def _topological_order(specs: list[LayerSpec]) -> list[LayerSpec]:
    if not specs:
        raise InvalidInput("network: found no layers, expected one or more")
    by_name: dict[str, LayerSpec] = {}
    for spec in specs:
        if spec.name in by_name or spec.name == DATA:
            raise LayerFault(spec.name, "name", f"'{spec.name}' twice", "a name of its own")
        by_name[spec.name] = spec
    for spec in specs:
        for source in spec.inputs:
            if source != DATA and source not in by_name:
                raise LayerFault(spec.name, "inputs", f"'{source}'", f"'{DATA}' or the name of a layer")
    missing = {spec.name: len(set(spec.inputs) - {DATA}) for spec in specs}
    consumers: dict[str, list[int]] = defaultdict(list)
    for index, spec in enumerate(specs):
        for source in dict.fromkeys(spec.inputs):
            consumers[source].append(index)
    ready = [index for index, spec in enumerate(specs) if not missing[spec.name]]  # ascending, and so a heap
    ordered: list[LayerSpec] = []
    while ready:
        spec = specs[heappop(ready)]  # of those that can come, the first in the author's order
        ordered.append(spec)
        for index in consumers[spec.name]:
            missing[specs[index].name] -= 1
            if not missing[specs[index].name]:
                heappush(ready, index)
    if len(ordered) < len(specs):
        blocked = [spec for spec in specs if missing[spec.name]]
        cycle = _cycle(blocked)
        shown = " <- ".join(cycle if len(cycle) <= 10 else [*cycle[:5], "...", *cycle[-4:]])
        raise LayerFault(cycle[0], "inputs", f"a cycle {shown}", "a graph without cycles")
    return ordered


def _cycle(blocked: list[LayerSpec]) -> list[str]:
    """Names along a cycle, from a layer over what it reads back to it: whatever is blocked reads something blocked."""
    unresolved = {spec.name: spec for spec in blocked}
    path: dict[str, int] = {}
    name = blocked[0].name
    while name not in path:
        path[name] = len(path)
        name = next(source for source in unresolved[name].inputs if source in unresolved)
    return [*list(path)[path[name] :], name]


def _consumers(layers: list[Layer]) -> dict[str, list[Layer]]:
    consumers: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        for source in layer.inputs:
            consumers[source].append(layer)
    return consumers


def _check_ends(layers: list[Layer], consumers: dict[str, list[Layer]]) -> None:
    last = layers[-1]
    if last.kind != Kind.SOFTMAX:
        raise LayerFault(last.name, "kind", last.kind, "SOFTMAX, the loss, as the last layer")
    for layer in layers[:-1]:
        if layer.kind == Kind.SOFTMAX:
            raise LayerFault(layer.name, "kind", layer.kind, "SOFTMAX only as the last layer")
        if not consumers[layer.name]:
            raise LayerFault(layer.name, "inputs", "an output that no layer reads", "one that some layer reads")


def _place_outputs(layers: list[Layer], consumers: dict[str, list[Layer]]) -> tuple[dict[str, View], set[str]]:
    """Where each output lies, and which layers work in place. A map is named after its first writer, or its CONCAT."""
    views: dict[str, View] = {}
    members: dict[str, list[str]] = {}
    in_place: set[str] = set()
    by_name = {layer.name: layer for layer in layers}
    for layer in layers:
        sole_reader = all(source != DATA and len(consumers[source]) == 1 for source in layer.inputs)
        if layer.kind in IN_PLACE and sole_reader and not _spoils_y(layer, by_name, views, members):
            in_place.add(layer.name)
            view = views[layer.inputs[0]]
        else:
            view = View(layer.name, 0, layer.output_shape[1])
        views[layer.name] = view
        members.setdefault(view.map_name, []).append(layer.name)
        if layer.kind == Kind.CONCAT and sole_reader and len(set(layer.inputs)) == len(layer.inputs):
            _join_into_slices(layer, views, members)
    return views, in_place


def _spoils_y(
    layer: Layer, by_name: Mapping[str, Layer], views: Mapping[str, View], members: Mapping[str, list[str]]
) -> bool:
    """Whether working in place would change values that the backward kernel of a layer before it reads as its Y.

    DROPOUT scales what it keeps, which max POOL and LRN would notice. What an ACTV or DROPOUT sets to zero has a
    gradient of zero as well, so that its value does not matter, and the sign is all that an ACTV reads.
    """
    if layer.kind != Kind.DROPOUT:
        return False
    writers = (by_name[name] for name in members[views[layer.inputs[0]].map_name])
    return any(writer.kind == Kind.LRN or (writer.kind == Kind.POOL and not writer.average) for writer in writers)


def _join_into_slices(layer: Layer, views: dict[str, View], members: dict[str, list[str]]) -> None:
    start = 0
    for source, shape in zip(layer.inputs, layer.input_shapes, strict=True):
        for member in members.pop(views[source].map_name):
            view = views[member]
            views[member] = View(layer.name, start + view.channel_offset, view.channels)
            members[layer.name].append(member)
        start += shape[1]


def _feature_maps(network: Network) -> dict[str, FeatureMap]:
    writers: dict[str, list[Layer]] = defaultdict(list)
    readers: dict[str, list[Layer]] = defaultdict(list)
    for layer in network.layers:
        own = network.views[layer.name].map_name
        writers[own].append(layer)
        for source in dict.fromkeys(network.views[source].map_name for source in layer.inputs):
            if source != own:
                readers[source].append(layer)
    shapes = {DATA: network.input_shape}
    shapes.update((layer.name, layer.output_shape) for layer in network.layers)
    maps = {}
    for name in (DATA, *writers):
        users = [writer for writer in writers[name] if writer.kind in READS_Y_IN_BACKWARD]
        users += [reader for reader in readers[name] if reader.kind in READS_X_IN_BACKWARD]
        maps[name] = FeatureMap(
            name,
            shapes[name],
            tuple(layer.name for layer in writers[name]),
            tuple(layer.name for layer in readers[name]),
            tuple(layer.name for layer in users),
            bool(writers[name]) and network.in_classifier(writers[name][0].name),
        )
    return maps
