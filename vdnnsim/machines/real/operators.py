"""The kernels of every kind of layer, as a machine asks for them; and those that both devices take from PyTorch.

`CommonOperators` holds what needs no library beside PyTorch on either device: FC (GEMM), DROPOUT, ADD, CONCAT where it
owns a map, and the loss. Every call writes into the tensors that it is given, so that no feature map lies outside of
the slab.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch

from vdnnsim.machines.real.device import Action
from vdnnsim.machines.real.operands import Tensors
from vdnnsim.network import Kind, Layer, Shape
from vdnnsim.program import Kernel

Strides = tuple[int, int, int, int]


class Place(NamedTuple):
    """How a map's part lies in memory: shape and strides, in elements."""

    shape: Shape
    strides: Strides


class Algorithm(NamedTuple):
    """One way of running a pass of a CONV, with the workspace that it needs."""

    name: str
    workspace_bytes: int


class Operators(Protocol):
    """The kernels of one device in one math mode."""

    @property
    def math(self) -> str:
        """fp32 or tf32."""

    def begin(self) -> None:
        """Called before an iteration: sets what the library keeps for the whole process, such as the math mode."""

    def algorithms(self, layer: Layer, pass_: str, x: Place, y: Place) -> list[Algorithm]:
        """What a CONV's pass can be run with; those that the library refuses are left out."""

    def prepare(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        """The launch of one kernel. Raises `InvalidInput` for a CONV algorithm that cannot run this."""


Maker = Callable[[Layer, Kernel, Tensors], Action]


Recorder = Callable[[Action], Action]
"""Makes one action of all that an action launches."""
MASK_SEED = 4096
"""Masks of DROPOUT are drawn layer by layer from this seed in every iteration, the same under every policy."""


def draw_mask(mask: torch.Tensor, layer: Layer, generator: torch.Generator) -> torch.Tensor:
    """Fill `mask` (uint8, the shape of X) with 0s and 1s."""
    return mask.bernoulli_(1 - layer.rate, generator=generator)


def present(tensor: torch.Tensor | None) -> torch.Tensor:
    """The tensor that a kernel of this kind always has."""
    if tensor is None:
        raise TypeError("a kernel was prepared without a tensor that its kind needs")
    return tensor


class CommonOperators:
    """FC, DROPOUT, ADD, CONCAT and the loss through PyTorch on any device.

    `record` turns the launches of one kernel into a single one, where the device can; masks are drawn outside of it.
    """

    def __init__(self, device: torch.device, record: Recorder) -> None:
        self.device = device
        self.record = record
        self.generator = torch.Generator(device)
        self.makers: dict[Kind, Maker] = {
            Kind.FC: self.fully_connected,
            Kind.DROPOUT: self.dropout,
            Kind.ADD: self.add,
            Kind.CONCAT: self.concat,
            Kind.SOFTMAX: self.softmax,
        }

    def begin(self) -> None:
        """As `Operators.begin`."""
        self.generator.manual_seed(MASK_SEED)

    def prepare(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        """As `Operators.prepare`."""
        action = self.makers[layer.kind](layer, kernel, tensors)
        draws = layer.kind == Kind.DROPOUT and kernel.pass_ == "forward" and not kernel.again
        return action if draws else self.record(action)

    def fully_connected(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        """Y = X W^T + b; dW = dY^T X, db = sum of dY, dX = dY W."""
        batch = layer.output_shape[0]
        x = tensors.x[0].reshape(batch, -1)
        if kernel.pass_ == "forward":
            y = present(tensors.y).view(batch, -1)
            weight = tensors.weights[0].t()
            if not layer.bias:
                return lambda: torch.mm(x, weight, out=y)
            bias = tensors.weights[1]
            return lambda: torch.addmm(bias, x, weight, out=y)
        dy = present(tensors.dy).view(batch, -1)
        dy_transposed = dy.t()
        weight = tensors.weights[0]
        weight_gradient = tensors.weight_gradients[0]
        bias_gradient = tensors.weight_gradients[1] if layer.bias else None
        dx = tensors.dx[0].view(batch, -1) if tensors.dx[0] is not None else None
        adds = tensors.adds[0]

        def backward() -> None:
            torch.mm(dy_transposed, x, out=weight_gradient)
            if bias_gradient is not None:
                torch.sum(dy, 0, out=bias_gradient)
            if dx is None:
                return
            if adds:
                torch.addmm(dx, dy, weight, out=dx)
            else:
                torch.mm(dy, weight, out=dx)

        return backward

    def dropout(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        """Y = X mask / (1 - rate), with the mask in the saved buffer, one byte per element; made again, with the mask
        that lies there."""
        mask = present(tensors.saved).view(layer.input_shape)
        scale = 1 / (1 - layer.rate)
        generator = self.generator
        if kernel.pass_ == "forward":
            x, y = tensors.x[0], present(tensors.y)

            def apply() -> None:
                torch.mul(x, mask, out=y)
                y.mul_(scale)

            if kernel.again:
                return apply
            applied = self.record(apply)

            def forward() -> None:
                draw_mask(mask, layer, generator)
                applied()

            return forward
        dy, dx = present(tensors.dy), present(tensors.dx[0])
        if tensors.adds[0]:
            return lambda: dx.addcmul_(dy, mask, value=scale)

        def backward() -> None:
            torch.mul(dy, mask, out=dx)
            dx.mul_(scale)

        return backward

    def add(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:  # noqa: ARG002 - one protocol for all
        """Y = sum of all X; backward passes dY on to each."""
        if kernel.pass_ != "forward":
            return _hand_out([present(tensors.dy)] * len(tensors.dx), tensors)
        first, second, *rest = tensors.x
        y = present(tensors.y)

        def forward() -> None:
            torch.add(first, second, out=y)
            for x in rest:
                y.add_(x)

        return forward

    def concat(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        """Only for a CONCAT that owns its map: copies the inputs into its slices, and their gradients back."""
        whole = present(tensors.y if kernel.pass_ == "forward" else tensors.dy)
        slices = torch.split(whole, [shape[1] for shape in layer.input_shapes], dim=1)
        if kernel.pass_ != "forward":
            return _hand_out(slices, tensors)
        inputs = tensors.x

        def forward() -> None:
            for target, x in zip(slices, inputs, strict=True):
                target.copy_(x)

        return forward

    def softmax(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:  # noqa: ARG002 - as the others
        """Softmax over channels under the mean cross-entropy of the labels, whose gradient is (Y - labels) / count."""
        y = present(tensors.y)
        if kernel.pass_ == "forward":
            x = tensors.x[0]
            return lambda: torch.softmax(x, 1, out=y)
        dx = present(tensors.dx[0])
        labels = present(tensors.labels).unsqueeze(1)
        share = 1 / labels.numel()
        minus_share = torch.full(labels.shape, -share, device=self.device)
        adds = tensors.adds[0]

        def backward() -> None:
            if adds:
                dx.add_(y, alpha=share)
            else:
                torch.mul(y, share, out=dx)
            dx.scatter_add_(1, labels, minus_share)

        return backward


def _hand_out(gradients: Sequence[torch.Tensor], tensors: Tensors) -> Action:
    """Write or add each gradient to its input's."""
    targets = [present(dx) for dx in tensors.dx]
    adds = tensors.adds

    def backward() -> None:
        for dx, gradient, added in zip(targets, gradients, adds, strict=True):
            if added:
                dx.add_(gradient)
            else:
                dx.copy_(gradient)

    return backward
