"""POOL, ACTV, LRN, BN and SOFTMAX through cuDNN. Pointers are device addresses; work is queued in the handle's stream.

Gradients have the layout of the maps that they belong to. `beta` scales what the output held before: 0 overwrites,
1 accumulates. Constructors raise `CudnnFailure` for layouts that cuDNN does not take; calls raise `AlgorithmRefused`
for combinations that it does not support and `CudnnFailure` for any other failure.
"""

from __future__ import annotations

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.cudnn_handle import PROPAGATE_NAN, Cudnn, Tensor4

Pair = tuple[int, int]

_MAX, _AVERAGE_COUNT_INCLUDE_PADDING, _MAX_DETERMINISTIC = 0, 1, 3
_RELU = 1
_CROSS_CHANNEL = 0
_SPATIAL = 1
_SOFTMAX_ACCURATE, _SOFTMAX_LOG = 1, 2
_OVER_CHANNELS = 1


class Pooling:
    """POOL: the largest element of each window, or the average (CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING).

    With `deterministic`, the backward pass of max adds in a fixed order (CUDNN_POOLING_MAX_DETERMINISTIC); without,
    overlapping windows may round differently from run to run (CUDNN_POOLING_MAX, as Caffe uses). On an H200 the fixed
    order made backward 1.6 to 5 times slower.

    y may have the rounded-down or the rounded-up size: where the last window hangs over the edge, the average counts
    what lies in the map and its padding, as torch's max_pool2d and avg_pool2d do with `ceil_mode`. Raises
    `InvalidInput` for any other y.
    """

    def __init__(
        self,
        cudnn: Cudnn,
        x: Tensor4,
        y: Tensor4,
        kernel: Pair,
        stride: Pair,
        padding: Pair = (0, 0),
        average: bool = False,
        deterministic: bool = False,
    ) -> None:
        kind = "average" if average else "max"
        where = f"POOL {kind} {x} -> {y}, kernel {kernel}, stride {stride}, padding {padding}"
        _check_windows(x, y, kernel, stride, padding, where)
        self._cudnn = cudnn
        self._one = cudnn.scalar(1.0)
        self._x, self._y = cudnn.tensor(x, where), cudnn.tensor(y, where)
        self._pooling = cudnn.descriptor("Pooling", where)
        of_max = _MAX_DETERMINISTIC if deterministic else _MAX
        mode = _AVERAGE_COUNT_INCLUDE_PADDING if average else of_max
        cudnn.call("cudnnSetPooling2dDescriptor", where)(self._pooling, mode, PROPAGATE_NAN, *kernel, *padding, *stride)
        self._forward = cudnn.call("cudnnPoolingForward", where)
        self._backward = cudnn.call("cudnnPoolingBackward", where)

    def forward(self, x: int, y: int, beta: float = 0.0) -> None:
        """y = pool(x) + beta y."""
        cudnn, one = self._cudnn, self._one
        self._forward(cudnn.handle, self._pooling, one, self._x, x, cudnn.scalar(beta), self._y, y)

    def backward(self, y: int, dy: int, x: int, dx: int, beta: float = 0.0) -> None:
        """dx = gradient + beta dx."""
        cudnn, out = self._cudnn, self._y
        inputs = (out, y, out, dy, self._x, x)
        self._backward(cudnn.handle, self._pooling, self._one, *inputs, cudnn.scalar(beta), self._x, dx)


class Activation:
    """ACTV: ReLU. x and y may be one buffer, and dx and dy another one."""

    def __init__(self, cudnn: Cudnn, t: Tensor4) -> None:
        where = f"ACTV {t}"
        self._cudnn = cudnn
        self._one = cudnn.scalar(1.0)
        self._t = cudnn.tensor(t, where)
        self._relu = cudnn.descriptor("Activation", where)
        cudnn.call("cudnnSetActivationDescriptor", where)(self._relu, _RELU, PROPAGATE_NAN, 0.0)
        self._forward = cudnn.call("cudnnActivationForward", where)
        self._backward = cudnn.call("cudnnActivationBackward", where)

    def forward(self, x: int, y: int, beta: float = 0.0) -> None:
        """y = max(x, 0) + beta y."""
        cudnn, t = self._cudnn, self._t
        self._forward(cudnn.handle, self._relu, self._one, t, x, cudnn.scalar(beta), t, y)

    def backward(self, y: int, dy: int, x: int, dx: int, beta: float = 0.0) -> None:
        """dx = dy where y > 0, else 0, + beta dx."""
        cudnn, t = self._cudnn, self._t
        self._backward(cudnn.handle, self._relu, self._one, t, y, t, dy, t, x, cudnn.scalar(beta), t, dx)


class LocalResponse:
    """LRN across `size` channels: y = x / (k + alpha / size * sum of x^2)^beta_exponent.

    The defaults are those of torch.nn.functional.local_response_norm and of Caffe; AlexNet's paper has k = 2. For an
    even `size` cuDNN's window starts (size - 1) // 2 channels before the centre, torch's size // 2.
    """

    def __init__(
        self,
        cudnn: Cudnn,
        x: Tensor4,
        size: int,
        alpha: float = 1e-4,
        beta_exponent: float = 0.75,
        k: float = 1.0,
    ) -> None:
        where = f"LRN {x}, size {size}, alpha {alpha}, beta {beta_exponent}, k {k}"
        if size < 1:
            raise InvalidInput(f"{where}: expected a size of 1 or more")
        self._cudnn = cudnn
        self._one = cudnn.scalar(1.0)
        self._x = cudnn.tensor(x, where)
        self._lrn = cudnn.descriptor("LRN", where)
        cudnn.call("cudnnSetLRNDescriptor", where)(self._lrn, size, alpha, beta_exponent, k)
        self._forward = cudnn.call("cudnnLRNCrossChannelForward", where)
        self._backward = cudnn.call("cudnnLRNCrossChannelBackward", where)

    def forward(self, x: int, y: int, beta: float = 0.0) -> None:
        """y = lrn(x) + beta y."""
        cudnn, t = self._cudnn, self._x
        self._forward(cudnn.handle, self._lrn, _CROSS_CHANNEL, self._one, t, x, cudnn.scalar(beta), t, y)

    def backward(self, y: int, dy: int, x: int, dx: int, beta: float = 0.0) -> None:
        """dx = gradient + beta dx."""
        cudnn, t = self._cudnn, self._x
        inputs = (t, y, t, dy, t, x)
        self._backward(cudnn.handle, self._lrn, _CROSS_CHANNEL, self._one, *inputs, cudnn.scalar(beta), t, dx)


class BatchNorm:
    """BN in training: over batch, height and width of each channel (CUDNN_BATCHNORM_SPATIAL).

    `scale`, `bias`, their gradients, and the running and saved values are c floats each. The defaults are torch's: new
    running value = (1 - momentum) * old + momentum * batch value, with the unbiased variance.
    """

    def __init__(self, cudnn: Cudnn, x: Tensor4, epsilon: float = 1e-5, momentum: float = 0.1) -> None:
        where = f"BN {x}, epsilon {epsilon}, momentum {momentum}"
        self._cudnn = cudnn
        self._one = cudnn.scalar(1.0)
        self._epsilon, self._momentum = epsilon, momentum
        self._x = cudnn.tensor(x, where)
        self._parameters = cudnn.tensor(Tensor4.dense((1, x.shape[1], 1, 1)), where)
        self._forward = cudnn.call("cudnnBatchNormalizationForwardTraining", where)
        self._backward = cudnn.call("cudnnBatchNormalizationBackward", where)

    def forward(
        self,
        x: int,
        y: int,
        scale: int,
        bias: int,
        running_mean: int,
        running_var: int,
        saved_mean: int,
        saved_invstd: int,
        beta: float = 0.0,
    ) -> None:
        """y = bn(x) + beta y; updates the running values (both 0: none are kept) and writes the saved ones (both 0:
        neither)."""
        cudnn, t = self._cudnn, self._x
        self._forward(
            cudnn.handle,
            _SPATIAL,
            self._one,
            cudnn.scalar(beta),
            t,
            x,
            t,
            y,
            self._parameters,
            scale,
            bias,
            self._momentum,
            running_mean,
            running_var,
            self._epsilon,
            saved_mean,
            saved_invstd,
        )

    def backward(
        self,
        x: int,
        dy: int,
        dx: int,
        scale: int,
        dscale: int,
        dbias: int,
        saved_mean: int,
        saved_invstd: int,
        beta: float = 0.0,
    ) -> None:
        """dx = gradient + beta dx; dscale and dbias are overwritten."""
        cudnn, t = self._cudnn, self._x
        self._backward(
            cudnn.handle,
            _SPATIAL,
            self._one,
            cudnn.scalar(beta),
            self._one,
            cudnn.scalar(0.0),
            t,
            x,
            t,
            dy,
            t,
            dx,
            self._parameters,
            scale,
            dscale,
            dbias,
            self._epsilon,
            saved_mean,
            saved_invstd,
        )


class Softmax:
    """SOFTMAX over channels for each element of the batch and each place, or its logarithm with `log`."""

    def __init__(self, cudnn: Cudnn, t: Tensor4, log: bool = False) -> None:
        where = f"SOFTMAX{' (log)' if log else ''} {t}"
        self._cudnn = cudnn
        self._one = cudnn.scalar(1.0)
        self._t = cudnn.tensor(t, where)
        self._algorithm = _SOFTMAX_LOG if log else _SOFTMAX_ACCURATE
        self._forward = cudnn.call("cudnnSoftmaxForward", where)
        self._backward = cudnn.call("cudnnSoftmaxBackward", where)

    def forward(self, x: int, y: int, beta: float = 0.0) -> None:
        """y = softmax(x) + beta y."""
        cudnn, t = self._cudnn, self._t
        kind = (self._algorithm, _OVER_CHANNELS)
        self._forward(cudnn.handle, *kind, self._one, t, x, cudnn.scalar(beta), t, y)

    def backward(self, y: int, dy: int, dx: int, beta: float = 0.0) -> None:
        """dx = gradient + beta dx, from the gradient dy of the softmax's own output."""
        cudnn, t = self._cudnn, self._t
        kind = (self._algorithm, _OVER_CHANNELS)
        self._backward(cudnn.handle, *kind, self._one, t, y, t, dy, cudnn.scalar(beta), t, dx)


def _check_windows(x: Tensor4, y: Tensor4, kernel: Pair, stride: Pair, padding: Pair, where: str) -> None:
    if min(*kernel, *stride) < 1 or min(padding) < 0:
        raise InvalidInput(f"{where}: expected kernel and stride of 1 or more and no negative padding")
    rooms = [x.shape[2 + axis] + 2 * padding[axis] - kernel[axis] for axis in (0, 1)]
    choices = [{room // step + 1, -(-room // step) + 1} for room, step in zip(rooms, stride, strict=True)]
    if y.shape[:2] != x.shape[:2] or any(y.shape[2 + axis] not in choices[axis] for axis in (0, 1)):
        sides = " by ".join(" or ".join(map(str, sorted(choice))) for choice in choices)
        raise InvalidInput(f"{where}: found y of shape {y.shape}; expected the batch and channels of x, and {sides}")
