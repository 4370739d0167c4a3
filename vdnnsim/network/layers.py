"""Layers: what kinds there are, what shape and how many bytes each produces.

Shapes are (batch, channels, height, width); elements are 4 bytes wide (fp32; tf32 changes the arithmetic, not
the storage). Output sizes follow cuDNN and Caffe: floor((size + 2 padding - kernel) / stride) + 1, and for pools
with `ceil` the quotient is rounded up, as Caffe and Torch's "ceil mode" do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from vdnnsim.errors import InvalidInput

ELEMENT_BYTES = 4
DATA = "data"
"""The name of the network's input, which no layer produces."""

Shape = tuple[int, int, int, int]
Pair = tuple[int, int]


class Kind(StrEnum):
    """The kinds of layers, in the paper's terms."""

    CONV = "CONV"
    ACTV = "ACTV"
    POOL = "POOL"
    LRN = "LRN"
    BN = "BN"
    FC = "FC"
    DROPOUT = "DROPOUT"
    CONCAT = "CONCAT"
    ADD = "ADD"
    SOFTMAX = "SOFTMAX"


ONE_INPUT = frozenset(Kind) - {Kind.CONCAT, Kind.ADD}
READS_X_IN_BACKWARD = frozenset({Kind.CONV, Kind.POOL, Kind.LRN, Kind.BN, Kind.FC})
"""Kinds whose backward kernels read X (cuDNN: filter gradient, PoolingBackward, LRNCrossChannelBackward, BN)."""
READS_Y_IN_BACKWARD = frozenset({Kind.ACTV, Kind.POOL, Kind.LRN, Kind.SOFTMAX})
"""Kinds whose backward kernels read Y (cuDNN: ActivationBackward, PoolingBackward, LRN, SoftmaxBackward)."""


class LayerFault(InvalidInput):
    """A layer that cannot be; ``args`` is (layer, field, found, expected)."""

    def __str__(self) -> str:
        layer, where, found, expected = self.args
        return f"layer '{layer}': {where}: found {found}; expected {expected}"


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """A layer as its author states it; shapes are not known yet.

    `channels` are the output channels of CONV and FC; `kernel`, `stride` and `padding` are (height, width) of CONV
    and POOL, where a POOL with `kernel` None covers the whole map; `size` is LRN's window over channels.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    channels: int = 0
    kernel: Pair | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1
    bias: bool = True
    average: bool = False
    ceil: bool = False
    size: int = 5
    rate: float = 0.5


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer with its shapes: `inputs` are names of layers (or `DATA`), shapes are (n, c, h, w), sizes are bytes.

    `saved_bytes` is what forward keeps for backward beside X and Y: the mask of DROPOUT (1 B per element), the
    batch mean and inverse deviation of BN.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    groups: int = 1
    bias: bool = False
    average: bool = False
    ceil: bool = False
    size: int = 5
    rate: float = 0.5
    weights_bytes: int = 0
    weight_gradients_bytes: int = 0
    saved_bytes: int = 0
    passes: tuple[str, ...] = field(default=("forward", "backward"))

    @property
    def input_shape(self) -> Shape:
        return self.input_shapes[0]

    @property
    def output_bytes(self) -> int:
        return shape_bytes(self.output_shape)


def shape_bytes(shape: Shape) -> int:
    """Bytes of a dense fp32 tensor."""
    return math.prod(shape) * ELEMENT_BYTES


def infer_layer(spec: LayerSpec, input_shapes: tuple[Shape, ...]) -> Layer:
    """The layer of `spec` on inputs of these shapes. Raises `LayerFault` where they do not fit together."""
    _check_input_count(spec, input_shapes)
    match spec.kind:
        case Kind.CONV:
            return _convolution(spec, input_shapes[0])
        case Kind.POOL:
            return _pool(spec, input_shapes[0])
        case Kind.FC:
            return _fully_connected(spec, input_shapes[0])
        case Kind.BN:
            channels = input_shapes[0][1]
            return Layer(
                spec.name,
                spec.kind,
                spec.inputs,
                input_shapes,
                input_shapes[0],
                weights_bytes=4 * channels * ELEMENT_BYTES,  # scale, shift, running mean and variance
                weight_gradients_bytes=2 * channels * ELEMENT_BYTES,
                saved_bytes=2 * channels * ELEMENT_BYTES,
            )
        case Kind.DROPOUT:
            if not 0 <= spec.rate < 1:
                raise LayerFault(spec.name, "rate", spec.rate, "at least 0 and below 1")
            mask_bytes = math.prod(input_shapes[0])
            return Layer(
                spec.name,
                spec.kind,
                spec.inputs,
                input_shapes,
                input_shapes[0],
                rate=spec.rate,
                saved_bytes=mask_bytes,
            )
        case Kind.CONCAT:
            return Layer(spec.name, spec.kind, spec.inputs, input_shapes, _concat_shape(spec, input_shapes))
        case Kind.ADD:
            if len(set(input_shapes)) > 1:
                raise LayerFault(spec.name, "inputs", f"shapes {list(input_shapes)}", "equal shapes")
        case Kind.LRN:
            if spec.size < 1 or spec.size % 2 == 0:
                raise LayerFault(spec.name, "size", spec.size, "an odd number of channels, 1 or more")
    return Layer(spec.name, spec.kind, spec.inputs, input_shapes, input_shapes[0], size=spec.size)


def _check_input_count(spec: LayerSpec, input_shapes: tuple[Shape, ...]) -> None:
    count = len(input_shapes)
    if spec.kind in ONE_INPUT and count != 1:
        raise LayerFault(spec.name, "inputs", f"{count} inputs", f"one input for {spec.kind}")
    if spec.kind not in ONE_INPUT and count < 2:
        raise LayerFault(spec.name, "inputs", f"{count} inputs", f"two or more inputs for {spec.kind}")


def _convolution(spec: LayerSpec, shape: Shape) -> Layer:
    batch, channels, height, width = shape
    if spec.channels < 1:
        raise LayerFault(spec.name, "channels", spec.channels, "1 or more output channels")
    if spec.groups < 1 or channels % spec.groups or spec.channels % spec.groups:
        raise LayerFault(
            spec.name,
            "groups",
            spec.groups,
            f"a divisor of {channels} input and {spec.channels} output channels",
        )
    kernel = spec.kernel or (1, 1)
    out = tuple(_window_count(spec, size, kernel[axis], axis, False) for axis, size in enumerate((height, width)))
    filter_elements = spec.channels * (channels // spec.groups) * kernel[0] * kernel[1]
    weights_bytes = (filter_elements + (spec.channels if spec.bias else 0)) * ELEMENT_BYTES
    return Layer(
        spec.name,
        spec.kind,
        spec.inputs,
        (shape,),
        (batch, spec.channels, out[0], out[1]),
        kernel,
        spec.stride,
        spec.padding,
        spec.groups,
        bias=spec.bias,
        weights_bytes=weights_bytes,
        weight_gradients_bytes=weights_bytes,
        passes=("forward", "backward_data", "backward_filter"),
    )


def _pool(spec: LayerSpec, shape: Shape) -> Layer:
    batch, channels, height, width = shape
    kernel = spec.kernel or (height, width)
    stride = spec.stride if spec.kernel else (1, 1)
    if any(pad >= side for pad, side in zip(spec.padding, kernel, strict=True)):
        raise LayerFault(spec.name, "padding", spec.padding, f"less than the kernel {kernel}")
    out = tuple(_window_count(spec, size, kernel[axis], axis, spec.ceil) for axis, size in enumerate((height, width)))
    return Layer(
        spec.name,
        spec.kind,
        spec.inputs,
        (shape,),
        (batch, channels, out[0], out[1]),
        kernel,
        stride,
        spec.padding,
        average=spec.average,
        ceil=spec.ceil,
    )


def _window_count(spec: LayerSpec, size: int, kernel: int, axis: int, ceil: bool) -> int:
    stride, padding = spec.stride[axis], spec.padding[axis]
    room = size + 2 * padding - kernel
    if kernel < 1 or stride < 1 or padding < 0 or room < 0:
        found = f"{kernel} (stride {stride}, padding {padding})"
        raise LayerFault(spec.name, "kernel", found, f"a window that fits a side of {size}")
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1  # the last window must start inside the map or its padding (Caffe, Torch)
    return count


def _fully_connected(spec: LayerSpec, shape: Shape) -> Layer:
    if spec.channels < 1:
        raise LayerFault(spec.name, "channels", spec.channels, "1 or more outputs")
    inputs = math.prod(shape[1:])
    weights_bytes = (spec.channels * inputs + (spec.channels if spec.bias else 0)) * ELEMENT_BYTES
    return Layer(
        spec.name,
        spec.kind,
        spec.inputs,
        (shape,),
        (shape[0], spec.channels, 1, 1),
        bias=spec.bias,
        weights_bytes=weights_bytes,
        weight_gradients_bytes=weights_bytes,
    )


def _concat_shape(spec: LayerSpec, shapes: tuple[Shape, ...]) -> Shape:
    first = shapes[0]
    if any((shape[0], *shape[2:]) != (first[0], *first[2:]) for shape in shapes):
        raise LayerFault(spec.name, "inputs", f"shapes {list(shapes)}", "equal height and width")
    return (first[0], sum(shape[1] for shape in shapes), first[2], first[3])
