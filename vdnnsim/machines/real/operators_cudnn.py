"""The kernels of a layer on an NVIDIA GPU: CONV, POOL, ACTV, LRN, BN and SOFTMAX through cuDNN with the algorithm that
the program names; the rest through PyTorch (`CommonOperators`).

Descriptors are made once per shape and shared. All calls go to the stream of the cuDNN handle, or to PyTorch's current
one, which the device sets to the compute stream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from vdnnsim.machines.real.cudnn import (
    Activation,
    BatchNorm,
    Convolution,
    Cudnn,
    LocalResponse,
    Pooling,
    Softmax,
    Tensor4,
)
from vdnnsim.machines.real.device import Action
from vdnnsim.machines.real.operands import Tensors
from vdnnsim.machines.real.operators import Algorithm, CommonOperators, Place, Recorder, present
from vdnnsim.network import Kind, Layer
from vdnnsim.program import Kernel

_Descriptors = TypeVar("_Descriptors")


class CudnnOperators(CommonOperators):
    """Every kind of layer on the GPU, in fp32 or with TF32 tensor cores in CONV and FC."""

    def __init__(self, cudnn: Cudnn, math: str, record: Recorder) -> None:
        super().__init__(torch.device("cuda"), record)
        self.math = math
        self._cudnn = cudnn
        self._kept: dict[object, object] = {}
        self.makers |= {
            Kind.CONV: self._convolution,
            Kind.ACTV: self._activation,
            Kind.POOL: self._pool,
            Kind.LRN: self._local_response,
            Kind.BN: self._batch_norm,
            Kind.SOFTMAX: self._softmax,
        }

    def begin(self) -> None:
        """Set what GEMM may use; CONV's mode is in its descriptors."""
        super().begin()
        torch.set_float32_matmul_precision("high" if self.math == "tf32" else "highest")

    def algorithms(self, layer: Layer, pass_: str, x: Place, y: Place) -> list[Algorithm]:
        convolution = self._descriptors(layer, x, y)
        found = []
        for name in convolution.algorithms(pass_):
            workspace_bytes = convolution.workspace_bytes(pass_, name)
            if workspace_bytes is not None:
                found.append(Algorithm(name, workspace_bytes))
        return found

    def _descriptors(self, layer: Layer, x: Place, y: Place) -> Convolution:
        return self._keep(
            (Kind.CONV, x, y, layer.kernel, layer.stride, layer.padding, layer.groups),
            lambda: Convolution(
                self._cudnn,
                Tensor4(*x),
                Tensor4(*y),
                layer.kernel,
                layer.stride,
                layer.padding,
                layer.groups,
                self.math == "tf32",
            ),
        )

    def _keep(self, key: object, make: Callable[[], _Descriptors]) -> _Descriptors:
        if key not in self._kept:
            self._kept[key] = make()
        kept: _Descriptors = self._kept[key]  # type: ignore[assignment]
        return kept

    def _convolution(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        x_place, y_place = _places(kernel, tensors)
        convolution = self._descriptors(layer, x_place, y_place)
        name = kernel.algorithm
        room = tensors.workspace
        workspace, workspace_bytes = (0, 0) if room is None else (room.data_ptr(), room.numel())
        if kernel.pass_ == "forward":
            x, y = tensors.x[0].data_ptr(), _address(tensors.y)
            weights = tensors.weights[0].data_ptr()
            bias = tensors.weights[1].data_ptr() if layer.bias else 0

            def forward() -> None:
                convolution.forward(name, x, weights, y, workspace, workspace_bytes)
                if bias:
                    convolution.add_bias(bias, y)

            return forward
        dy = _address(tensors.dy)
        if kernel.pass_ == "backward_data":
            weights, dx = tensors.weights[0].data_ptr(), _address(tensors.dx[0])
            beta = float(tensors.adds[0])
            return lambda: convolution.backward_data(name, weights, dy, dx, workspace, workspace_bytes, beta)
        x = tensors.x[0].data_ptr()
        filter_gradient = tensors.weight_gradients[0].data_ptr()
        bias_gradient = tensors.weight_gradients[1].data_ptr() if layer.bias else 0

        def backward_filter() -> None:
            convolution.backward_filter(name, x, dy, filter_gradient, workspace, workspace_bytes)
            if bias_gradient:
                convolution.backward_bias(dy, bias_gradient)

        return backward_filter

    def _activation(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:  # noqa: ARG002
        place = _place(present(tensors.y))
        relu = self._keep((Kind.ACTV, place), lambda: Activation(self._cudnn, place))
        y = _address(tensors.y)
        if kernel.pass_ == "forward":
            x = tensors.x[0].data_ptr()
            return lambda: relu.forward(x, y)
        dy, dx, beta = _address(tensors.dy), _address(tensors.dx[0]), float(tensors.adds[0])
        # ReLU's X and Y have the same sign, so that Y stands for X, which the program may have let go.
        return lambda: relu.backward(y, dy, y, dx, beta)

    def _pool(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        x_place, y_place = _place(tensors.x[0]), _place(present(tensors.y))
        window = (layer.kernel, layer.stride, layer.padding, layer.average)
        pool = self._keep(
            (Kind.POOL, x_place, y_place, window), lambda: Pooling(self._cudnn, x_place, y_place, *window)
        )
        x, y = tensors.x[0].data_ptr(), _address(tensors.y)
        if kernel.pass_ == "forward":
            return lambda: pool.forward(x, y)
        dy, dx, beta = _address(tensors.dy), _address(tensors.dx[0]), float(tensors.adds[0])
        return lambda: pool.backward(y, dy, x, dx, beta)

    def _local_response(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        place = _place(tensors.x[0])
        lrn = self._keep((Kind.LRN, place, layer.size), lambda: LocalResponse(self._cudnn, place, layer.size))
        x, y = tensors.x[0].data_ptr(), _address(tensors.y)
        if kernel.pass_ == "forward":
            return lambda: lrn.forward(x, y)
        dy, dx, beta = _address(tensors.dy), _address(tensors.dx[0]), float(tensors.adds[0])
        return lambda: lrn.backward(y, dy, x, dx, beta)

    def _batch_norm(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:  # noqa: ARG002
        """Made again, Y alone is written: what cuDNN is given no address for it does not keep."""
        place = _place(tensors.x[0])
        norm = self._keep((Kind.BN, place), lambda: BatchNorm(self._cudnn, place))
        x = tensors.x[0].data_ptr()
        scale, shift, running_mean, running_variance = (part.data_ptr() for part in tensors.weights)
        if kernel.again:
            y = _address(tensors.y)
            return lambda: norm.forward(x, y, scale, shift, 0, 0, 0, 0)
        mean, inverse = (part.data_ptr() for part in present(tensors.saved).view(torch.float32).view(2, -1))
        if kernel.pass_ == "forward":
            y = _address(tensors.y)
            return lambda: norm.forward(x, y, scale, shift, running_mean, running_variance, mean, inverse)
        dy, dx, beta = _address(tensors.dy), _address(tensors.dx[0]), float(tensors.adds[0])
        dscale, dshift = (part.data_ptr() for part in tensors.weight_gradients)
        return lambda: norm.backward(x, dy, dx, scale, dscale, dshift, mean, inverse, beta)

    def _softmax(self, layer: Layer, kernel: Kernel, tensors: Tensors) -> Action:
        if kernel.pass_ != "forward":
            return self.softmax(layer, kernel, tensors)
        place = _place(tensors.x[0])
        softmax = self._keep((Kind.SOFTMAX, place), lambda: Softmax(self._cudnn, place))
        x, y = tensors.x[0].data_ptr(), _address(tensors.y)
        return lambda: softmax.forward(x, y)


def _address(tensor: torch.Tensor | None) -> int:
    return present(tensor).data_ptr()


def _place(tensor: torch.Tensor) -> Tensor4:
    n, c, h, w = tensor.shape
    a, b, d, e = tensor.stride()
    return Tensor4((n, c, h, w), (a, b, d, e))


def _places(kernel: Kernel, tensors: Tensors) -> tuple[Place, Place]:
    """X's and Y's places, from whichever of map and gradient this pass has: they lie alike."""
    x = tensors.x[0] if tensors.x else tensors.dx[0]
    y = tensors.y if kernel.pass_ == "forward" else tensors.dy
    places = [_place(present(tensor)) for tensor in (x, y)]
    return Place(places[0].shape, places[0].strides), Place(places[1].shape, places[1].strides)
