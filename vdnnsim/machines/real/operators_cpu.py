"""All kernels through PyTorch's CPU operations, for tests and for machines without a GPU.

CONV has two algorithms in every pass, so that a choice with and without workspace exists here too: IMPLICIT_GEMM, which
is PyTorch's own convolution, and GEMM, which unfolds one image after the other into the workspace.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional, grad

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.device import Action
from vdnnsim.machines.real.operands import ELEMENT_BYTES, Tensors
from vdnnsim.machines.real.operators import Algorithm, CommonOperators, Place, present
from vdnnsim.network import Kind, Layer
from vdnnsim.program import Kernel

LRN_ALPHA, LRN_BETA, LRN_K = 1e-4, 0.75, 1.0
BN_MOMENTUM, BN_EPSILON = 0.1, 1e-5
IMPLICIT_GEMM, GEMM = "IMPLICIT_GEMM", "GEMM"
_aten = torch.ops.aten
_conv2d_input: Callable[..., torch.Tensor] = grad.conv2d_input
_conv2d_weight: Callable[..., torch.Tensor] = grad.conv2d_weight


class CpuOperators(CommonOperators):
    """Every kind of layer on the CPU, in fp32. Raises `InvalidInput` for another math mode."""

    def __init__(self, math: str = "fp32") -> None:
        if math != "fp32":
            raise InvalidInput(f"math: found {math}, expected fp32 on the CPU, which has no other here")
        super().__init__(torch.device("cpu"), record=lambda action: action)
        self.math = math
        self.makers |= {
            Kind.CONV: _convolution,
            Kind.ACTV: _activation,
            Kind.POOL: _pool,
            Kind.LRN: _local_response,
            Kind.BN: _batch_norm,
        }

    def algorithms(self, layer: Layer, pass_: str, x: Place, y: Place) -> list[Algorithm]:  # noqa: ARG002
        both = [Algorithm(IMPLICIT_GEMM, 0)]
        if layer.groups == 1:
            rows, columns = _unfolded(layer)
            both.append(Algorithm(GEMM, rows * columns * ELEMENT_BYTES))
        return both


def _unfolded(layer: Layer) -> tuple[int, int]:
    """Rows and columns of one image's unfolded X."""
    _, _, height, width = layer.output_shape
    return layer.input_shape[1] * layer.kernel[0] * layer.kernel[1], height * width


def _convolution(layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
    if kernel.algorithm == GEMM and layer.groups == 1:
        return _explicit_gemm(layer, kernel, tensors)
    if kernel.algorithm != IMPLICIT_GEMM:
        raise InvalidInput(
            f"layer '{layer.name}', {kernel.pass_}: found algorithm {kernel.algorithm}, expected one of "
            f"{IMPLICIT_GEMM}, {GEMM} (without groups) on the CPU"
        )
    options = (layer.stride, layer.padding, 1, layer.groups)
    if kernel.pass_ == "forward":
        x, y = tensors.x[0], present(tensors.y)
        bias = tensors.weights[1] if layer.bias else None
        weight = tensors.weights[0]
        return lambda: y.copy_(functional.conv2d(x, weight, bias, *options))
    dy = present(tensors.dy)
    if kernel.pass_ == "backward_data":
        weight, dx = tensors.weights[0], present(tensors.dx[0])
        return _writer(dx, tensors.adds[0], lambda: _conv2d_input(layer.input_shape, weight, dy, *options))
    x = tensors.x[0]
    weight_gradient = tensors.weight_gradients[0]

    def backward_filter() -> None:
        weight_gradient.copy_(_conv2d_weight(x, weight_gradient.shape, dy, *options))
        _bias_gradient(layer, tensors, dy)

    return backward_filter


def _bias_gradient(layer: Layer, tensors: Tensors, dy: torch.Tensor) -> None:
    if layer.bias:
        torch.sum(dy, (0, 2, 3), out=tensors.weight_gradients[1])


def _explicit_gemm(layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
    rows, columns = _unfolded(layer)
    unfolded = present(tensors.workspace).view(torch.float32)[: rows * columns].view(rows, columns)
    window = {"kernel_size": layer.kernel, "padding": layer.padding, "stride": layer.stride}
    channels = layer.output_shape[1]
    if kernel.pass_ == "backward_data":
        weight = tensors.weights[0].view(channels, rows).t()
        dy, dx, adds = present(tensors.dy), present(tensors.dx[0]), tensors.adds[0]

        def backward_data() -> None:
            for image, target in zip(dy, dx, strict=True):
                torch.mm(weight, image.reshape(channels, columns), out=unfolded)
                folded = functional.fold(unfolded.unsqueeze(0), layer.input_shape[2:], **window)[0]
                target.copy_(target + folded if adds else folded)

        return backward_data
    x = tensors.x[0]
    if kernel.pass_ == "forward":
        y = present(tensors.y)
        weight = tensors.weights[0].view(channels, rows)

        def forward() -> None:
            for image, target in zip(x, y, strict=True):
                unfolded.copy_(functional.unfold(image.unsqueeze(0), **window)[0])
                torch.mm(weight, unfolded, out=target.view(channels, columns))
            if layer.bias:
                y.add_(tensors.weights[1].view(1, channels, 1, 1))

        return forward
    dy = present(tensors.dy)
    weight_gradient = tensors.weight_gradients[0].view(channels, rows)

    def backward_filter() -> None:
        weight_gradient.zero_()
        for image, gradient in zip(x, dy, strict=True):
            unfolded.copy_(functional.unfold(image.unsqueeze(0), **window)[0])
            weight_gradient.addmm_(gradient.reshape(channels, columns), unfolded.t())
        _bias_gradient(layer, tensors, dy)

    return backward_filter


def _writer(target: torch.Tensor, adds: bool, compute: Callable[[], torch.Tensor]) -> Action:
    """Write what `compute` returns to the target, or add it."""
    put = target.add_ if adds else target.copy_
    return lambda: put(compute())


def _activation(layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:  # noqa: ARG001 - one protocol for all
    y = present(tensors.y)
    if kernel.pass_ == "forward":
        x = tensors.x[0]
        return lambda: torch.clamp_min(x, 0, out=y)
    dy = present(tensors.dy)
    return _writer(present(tensors.dx[0]), tensors.adds[0], lambda: _aten.threshold_backward(dy, y, 0))


def _pool(layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
    x, y = tensors.x[0], present(tensors.y)
    window = (layer.kernel, layer.stride, layer.padding)
    ceil = layer.ceil
    if kernel.pass_ == "forward":
        if layer.average:
            return lambda: y.copy_(functional.avg_pool2d(x, *window, ceil, count_include_pad=True))
        return lambda: y.copy_(functional.max_pool2d(x, *window, ceil_mode=ceil))
    dy = present(tensors.dy)

    def gradient() -> torch.Tensor:
        if layer.average:
            result = _aten.avg_pool2d_backward(dy, x, *window, ceil, True, None)
        else:
            _, indices = functional.max_pool2d(x, *window, ceil_mode=ceil, return_indices=True)
            result = _aten.max_pool2d_with_indices_backward(dy, x, *window, (1, 1), ceil, indices)
        return present(result)

    return _writer(present(tensors.dx[0]), tensors.adds[0], gradient)


def _local_response(layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
    x = tensors.x[0]
    if kernel.pass_ == "forward":
        y = present(tensors.y)
        return lambda: y.copy_(functional.local_response_norm(x, layer.size, LRN_ALPHA, LRN_BETA, LRN_K))
    y, dy = present(tensors.y), present(tensors.dy)

    def gradient() -> torch.Tensor:
        # With s = k + alpha / n * (sum of x^2 over the window) and y = x s^-beta:
        # dx = dy s^-beta - 2 alpha beta / n x (sum over the window of dy y / s)
        scale = LRN_K + LRN_ALPHA * _window_mean(x * x, layer.size)
        spread = _window_mean(dy * y / scale, layer.size)
        return dy * scale**-LRN_BETA - 2 * LRN_ALPHA * LRN_BETA * x * spread

    return _writer(present(tensors.dx[0]), tensors.adds[0], gradient)


def _window_mean(values: torch.Tensor, size: int) -> torch.Tensor:
    """The sum over `size` neighbouring channels, those outside being 0, over `size`."""
    padded = functional.pad(values.unsqueeze(1), (0, 0, 0, 0, size // 2, size // 2))
    return functional.avg_pool3d(padded, (size, 1, 1), stride=1).squeeze(1)


def _batch_norm(layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
    x = tensors.x[0]
    scale, shift, running_mean, running_variance = tensors.weights
    if kernel.again:
        y = present(tensors.y)
        again = (None, None, True, BN_MOMENTUM, BN_EPSILON)
        return lambda: y.copy_(torch.native_batch_norm(x, scale, shift, *again)[0])
    mean, inverse_deviation = present(tensors.saved).view(torch.float32).view(2, layer.input_shape[1])
    if kernel.pass_ == "forward":
        y = present(tensors.y)

        def forward() -> None:
            result, batch_mean, batch_inverse = torch.native_batch_norm(
                x, scale, shift, running_mean, running_variance, True, BN_MOMENTUM, BN_EPSILON
            )
            y.copy_(result)
            mean.copy_(batch_mean)
            inverse_deviation.copy_(batch_inverse)

        return forward
    dy = present(tensors.dy)
    scale_gradient, shift_gradient = tensors.weight_gradients

    def gradient() -> torch.Tensor:
        dx, dscale, dshift = _aten.native_batch_norm_backward(
            dy,
            x,
            scale,
            running_mean,
            running_variance,
            mean,
            inverse_deviation,
            True,
            BN_EPSILON,
            (True, True, True),
        )
        scale_gradient.copy_(dscale)
        shift_gradient.copy_(dshift)
        result: torch.Tensor = dx
        return result

    return _writer(present(tensors.dx[0]), tensors.adds[0], gradient)
