"""From a program's operand names to tensors in the slab: what each kernel is launched on.

Every feature map is (n, c, h, w) in fp32, dense. A layer's X, Y and their gradients may be channel slices of a larger
map (a CONCAT's inputs), and are then strided views. Weights and their gradients lie one after the other in their
buffer: filter then bias for CONV and FC; scale, shift, running mean, running variance for BN, with
gradients of scale and shift.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from vdnnsim.network import (
    WRITES_GRADIENT,
    Kind,
    Layer,
    Network,
    gradient_operand,
    map_operand,
    saved_operand,
    weight_gradient_operand,
    weights_operand,
)
from vdnnsim.program import Kernel, operands_of

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
    """The tensors of a kernel: what `operands_of` says that it reads and writes. Raises `KeyError` for an operand that
    is not there."""
    layer = network.by_name[kernel.layer]
    operands = operands_of(network, kernel)
    bind = _Binding(network, operands.reads | operands.writes, bytes_of)
    x = tuple(tensor for source in layer.inputs if (tensor := bind.map(source, map_operand)) is not None)
    y, dy = (bind.map(layer.name, operand) for operand in (map_operand, gradient_operand))
    dx: tuple[torch.Tensor | None, ...] = ()
    adds: tuple[bool, ...] = ()
    if layer.name in network.in_place:
        x = () if y is None else (y,)
        dx, adds = ((dy,), (False,)) if kernel.pass_ in WRITES_GRADIENT else ((), ())
    elif kernel.pass_ in WRITES_GRADIENT:
        dx = tuple(bind.map(source, gradient_operand) for source in layer.inputs)
        adds = _adds(network, layer, operands.reads)
    workspace = kernel.workspace
    return Tensors(
        x,
        y,
        dx,
        adds,
        dy,
        bind.parts(layer, weights_operand(layer.name), layer.weights_bytes),
        bind.parts(layer, weight_gradient_operand(layer.name), layer.weight_gradients_bytes),
        bind.bytes(saved_operand(layer.name), layer.saved_bytes),
        bytes_of(workspace.name, workspace.size_bytes) if workspace is not None else None,
        labels,
    )


def _adds(network: Network, layer: Layer, reads: Collection[str]) -> tuple[bool, ...]:
    """For each input whether its gradient is added to: where the kernel reads it, or has written it for an input
    before."""
    names = [gradient_operand(network.views[source].map_name) for source in layer.inputs]
    return tuple(name in reads or name in names[:index] for index, name in enumerate(names))


class _Binding(NamedTuple):
    """What a kernel touches, to be bound to bytes; what it does not touch is None, or no parts."""

    network: Network
    touched: Collection[str]
    bytes_of: Bytes

    def bytes(self, operand: str, size_bytes: int) -> torch.Tensor | None:
        return self.bytes_of(operand, size_bytes) if operand in self.touched else None

    def parts(self, layer: Layer, operand: str, size_bytes: int) -> tuple[torch.Tensor, ...]:
        flat = self.bytes(operand, size_bytes)
        return () if flat is None else split_weights(layer, flat.view(torch.float32))

    def map(self, of: str, operand: Callable[[str], str]) -> torch.Tensor | None:
        """The map of a layer's output, or its gradient; a slice of a larger one is a strided view."""
        view = self.network.views[of]
        feature_map = self.network.maps[view.map_name]
        flat = self.bytes(operand(view.map_name), feature_map.size_bytes)
        if flat is None:
            return None
        whole = flat.view(torch.float32).view(feature_map.shape)
        return whole[:, view.channel_offset : view.channel_offset + view.channels]


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
