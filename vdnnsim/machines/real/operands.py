"""From a program's operand names to tensors in the slab: what each kernel is launched on.

Every feature map is (n, c, h, w) in fp32, dense. A layer's X, Y and their gradients may be channel slices of a larger
map (a CONCAT's inputs), and are then strided views. Weights and their gradients lie one after the other in their
buffer: filter then bias for CONV and FC; scale, shift, running mean, running variance for BN, with
gradients of scale and shift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from vdnnsim.network import DATA, Kind, Layer, Network, View
from vdnnsim.network.layers import READS_X_IN_BACKWARD, READS_Y_IN_BACKWARD
from vdnnsim.program import Kernel
from vdnnsim.program.commands import (
    gradient_operand,
    map_operand,
    saved_operand,
    weight_gradient_operand,
    weights_operand,
)

ELEMENT_BYTES = 4
Bytes = Callable[[str, int], torch.Tensor]
"""Bytes of an operand by its name and size, as the pool placed it at this point of the program. Raises `KeyError` where
the operand is not on the device."""


@dataclass(frozen=True)
class Tensors:
    """What one kernel may touch; a part that it does not touch in this pass is absent.

    `x` and `dx` have one entry per input of the layer; an entry of `dx` is None where that gradient is not needed.
    `adds[i]` says that `dx[i]` is added to, not written.
    """

    x: tuple[torch.Tensor, ...] = ()
    y: torch.Tensor | None = None
    dx: tuple[torch.Tensor | None, ...] = ()
    adds: tuple[bool, ...] = ()
    dy: torch.Tensor | None = None
    weights: tuple[torch.Tensor, ...] = ()
    weight_gradients: tuple[torch.Tensor, ...] = ()
    saved: torch.Tensor | None = None
    workspace: torch.Tensor | None = None
    labels: torch.Tensor | None = field(default=None, repr=False)


def tensors_of(network: Network, kernel: Kernel, bytes_of: Bytes, labels: torch.Tensor | None = None) -> Tensors:
    """The tensors of a kernel. Raises `KeyError` for an operand that the kernel needs and that is not there."""
    layer = network.by_name[kernel.layer]
    workspace = None
    if kernel.workspace is not None:
        workspace = bytes_of(kernel.workspace.name, kernel.workspace.size_bytes)
    forward = kernel.pass_ == "forward"
    filters = kernel.pass_ in ("backward_filter", "backward")
    data = kernel.pass_ in ("backward_data", "backward")
    reads_x = forward or (filters and layer.kind in READS_X_IN_BACKWARD)
    reads_y = forward or layer.kind in READS_Y_IN_BACKWARD
    in_place = layer.name in network.in_place
    needs_x = reads_x and not in_place
    own = network.views[layer.name]
    x = tuple(_map_tensor(network, source, bytes_of, map_operand) for source in layer.inputs) if needs_x else ()
    dx: tuple[torch.Tensor | None, ...] = ()
    adds: tuple[bool, ...] = ()
    if data and not in_place:
        dx, adds = _input_gradients(network, layer, kernel, bytes_of)
    y = _view_tensor(network, own, bytes_of, map_operand) if reads_y else None
    dy = None
    if not forward and layer.kind != Kind.SOFTMAX:
        dy = _view_tensor(network, own, bytes_of, gradient_operand)
    weights: tuple[torch.Tensor, ...] = ()
    if layer.weights_bytes and (forward or data):
        buffer = bytes_of(weights_operand(layer.name), layer.weights_bytes)
        weights = split_weights(layer, buffer.view(torch.float32))
    gradients: tuple[torch.Tensor, ...] = ()
    if layer.weight_gradients_bytes and filters:
        buffer = bytes_of(weight_gradient_operand(layer.name), layer.weight_gradients_bytes)
        gradients = split_weights(layer, buffer.view(torch.float32))
    saved = bytes_of(saved_operand(layer.name), layer.saved_bytes) if layer.saved_bytes else None
    if in_place:
        x = (y,) if y is not None else ()
        dx = (dy,) if data else ()
        adds = (False,) if data else ()
    return Tensors(x, y, dx, adds, dy, weights, gradients, saved, workspace, labels)


def split_weights(layer: Layer, flat: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The parts of a layer's weights, or of their gradients, as views of a flat fp32 tensor; every part whole."""
    parts: list[torch.Tensor] = []
    start = 0
    for shape in weight_shapes(layer):
        count = 1
        for side in shape:
            count *= side
        if start + count > flat.numel():
            break
        parts.append(flat[start : start + count].view(shape))
        start += count
    return tuple(parts)


def weight_shapes(layer: Layer) -> list[tuple[int, ...]]:
    """The parts of a layer's weights in the order in which they lie; BN's gradients are the first two only."""
    channels = layer.output_shape[1]
    bias = [(channels,)] if layer.bias else []
    if layer.kind == Kind.CONV:
        return [(channels, layer.input_shape[1] // layer.groups, *layer.kernel), *bias]
    if layer.kind == Kind.FC:
        _, inputs, height, width = layer.input_shape
        return [(channels, inputs * height * width), *bias]
    return [(channels,)] * 4 if layer.kind == Kind.BN else []


def _input_gradients(
    network: Network, layer: Layer, kernel: Kernel, bytes_of: Bytes
) -> tuple[tuple[torch.Tensor | None, ...], tuple[bool, ...]]:
    written: set[str] = set(kernel.accumulates)
    gradients: list[torch.Tensor | None] = []
    adds: list[bool] = []
    for source in layer.inputs:
        needless = source == DATA and layer.kind in (Kind.CONV, Kind.FC)
        gradients.append(None if needless else _map_tensor(network, source, bytes_of, gradient_operand))
        map_name = network.views[source].map_name
        adds.append(map_name in written)
        written.add(map_name)
    return tuple(gradients), tuple(adds)


def _map_tensor(network: Network, source: str, bytes_of: Bytes, operand: Callable[[str], str]) -> torch.Tensor:
    return _view_tensor(network, network.views[source], bytes_of, operand)


def _view_tensor(network: Network, view: View, bytes_of: Bytes, operand: Callable[[str], str]) -> torch.Tensor:
    feature_map = network.maps[view.map_name]
    batch, channels, height, width = feature_map.shape
    flat = bytes_of(operand(view.map_name), feature_map.size_bytes).view(torch.float32)
    whole = flat.view(batch, channels, height, width)
    return whole[:, view.channel_offset : view.channel_offset + view.channels]
