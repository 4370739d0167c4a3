"""When two layers are alike: kernels of equal kind on tensors of equal shape and place take equally long; and when two
networks are the same, whatever they are called."""

from __future__ import annotations

import hashlib
import json

from vdnnsim.network.graph import Network
from vdnnsim.network.layers import Layer, Shape


def layout_of(network: Network, source: str) -> tuple[Shape, tuple[int, int, int, int]]:
    """Shape and strides (in elements) of a layer's output, or of the input data, where it lies in its map."""
    view = network.views[source]
    batch, channels, height, width = network.maps[view.map_name].shape
    plane = height * width
    return (batch, view.channels, height, width), (channels * plane, plane, width, 1)


def shape_key(network: Network, layer: Layer, pass_: str) -> tuple[object, ...]:
    """What kernels of equal speed have in common."""
    return (
        pass_,
        *(layout_of(network, source) for source in layer.inputs),
        layout_of(network, layer.name),
        *_parameters(layer),
        layer.name in network.in_place,
    )


def layer_digests(network: Network) -> tuple[str, ...]:
    """The identity of each layer in eight hexadecimal digits, in the network's order: its name, kind and parameters,
    what it reads, and shapes in and out of one image.

    The batch is not part of it, so that traces of several batches are seen to be of one network. Nor is the rate of
    DROPOUT, which changes neither a time nor a byte.
    """
    return tuple(_short_digest(layer) for layer in network.layers)


def _short_digest(layer: Layer) -> str:
    shapes = [shape[1:] for shape in (*layer.input_shapes, layer.output_shape)]
    identity = json.dumps([layer.name, layer.inputs, shapes, *_parameters(layer)])
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def network_sha256(network: Network) -> str:
    """A SHA-256 over the layers with their shapes and parameters, the batch among them; names of layers count, since a
    trace has rows by name."""
    layers = [
        (layer.name, layer.inputs, layer.input_shapes, layer.output_shape, layer.ceil, layer.rate, *_parameters(layer))
        for layer in network.layers
    ]
    return hashlib.sha256(json.dumps([network.input_shape, layers]).encode()).hexdigest()


def _parameters(layer: Layer) -> tuple[object, ...]:
    """What its author states of a layer beside shapes, as far as it changes how long its kernels take."""
    return (
        layer.kind.value,
        layer.kernel,
        layer.stride,
        layer.padding,
        layer.groups,
        layer.bias,
        layer.average,
        layer.size,
    )
