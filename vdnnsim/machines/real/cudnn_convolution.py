"""CONV through cuDNN, with the algorithm of each pass named by the caller, as the paper does.

What cuDNN 9.19 did on an H200, fp32, errors as largest difference over largest value, against float64:

* DIRECT, WINOGRAD (fused) and backward_filter's FFT_TILING were refused on every shape tried; FFT and Winograd also
  refuse strides other than 1 (FFT_TILING took 7x7 with stride 2), and Winograd refused 1x1 filters.
* With TF32 allowed, IMPLICIT_PRECOMP_GEMM and backward's ALGO_1 use it (errors of 3e-4 to 1e-3); all others compute in
  fp32 all the same (about 1e-6).
* WINOGRAD_NONFUSED loses digits: 1e-5 to 3e-4 with 3x3 filters, but 5e-3 to 2e-2 with 5x5.
* backward_data's ALGO_0, and backward_filter's ALGO_0 and ALGO_3, sum in no fixed order: runs differ in the last bits.
* A tensor with gaps (a slice of channels) may need more workspace: ask with the strides that will be used.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.machines.real.cudnn_handle import FLOAT, Cudnn, Tensor4
from vdnnsim.machines.real.cudnn_library import Call, is_refusal
from vdnnsim.trace.table import CUDNN_ALGORITHMS

Pair = tuple[int, int]

ALGORITHMS = CUDNN_ALGORITHMS
_NUMBERS = {pass_: {name: number for number, name in enumerate(names)} for pass_, names in ALGORITHMS.items()}
_DEFAULT_MATH, _FMA_MATH = 0, 3
_CROSS_CORRELATION = 1


@dataclass(frozen=True)
class _Pass:
    """One pass: its functions, and the descriptors of its two inputs and its output in cuDNN's order."""

    run: Call
    workspace: Call
    first: int
    second: int
    output: int


class Convolution:
    """One CONV layer's descriptors, made once: x and y with their strides, dense weights (k, c / groups, *kernel).

    dx and dy have the layouts of x and y. With `tf32` cuDNN may use TF32 on tensor cores (CUDNN_DEFAULT_MATH, which
    means that for fp32 data from Ampere on); without it, fp32 arithmetic (CUDNN_FMA_MATH). Accumulation is fp32.
    All pointers are device addresses; calls queue work in the handle's stream and return.

    Raises `InvalidInput` where shapes do not fit together, `CudnnFailure` where cuDNN refuses a descriptor.
    """

    def __init__(
        self,
        cudnn: Cudnn,
        x: Tensor4,
        y: Tensor4,
        kernel: Pair,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        groups: int = 1,
        tf32: bool = False,
    ) -> None:
        where = (
            f"CONV {x} -> {y}, kernel {kernel}, stride {stride}, padding {padding}, groups {groups}, "
            f"{'tf32' if tf32 else 'fp32'}"
        )
        _check_shapes(x, y, kernel, stride, padding, groups, where)
        self.weights_shape = (y.shape[1], x.shape[1] // groups, *kernel)
        self._cudnn = cudnn
        self._one = cudnn.scalar(1.0)
        self._convolution = cudnn.descriptor("Convolution", where)
        cudnn.call("cudnnSetConvolution2dDescriptor", where)(
            self._convolution, *padding, *stride, 1, 1, _CROSS_CORRELATION, FLOAT
        )
        cudnn.call("cudnnSetConvolutionGroupCount", where)(self._convolution, groups)
        cudnn.call("cudnnSetConvolutionMathType", where)(self._convolution, _DEFAULT_MATH if tf32 else _FMA_MATH)
        self._x, self._y = cudnn.tensor(x, where), cudnn.tensor(y, where)
        self._bias = cudnn.tensor(Tensor4.dense((1, y.shape[1], 1, 1)), where)
        weights = cudnn.filters(self.weights_shape, where)
        self._passes = {
            "forward": self._pass("Forward", where, self._x, weights, self._y),
            "backward_data": self._pass("BackwardData", where, weights, self._y, self._x),
            "backward_filter": self._pass("BackwardFilter", where, self._x, self._y, weights),
        }
        self._add_tensor = cudnn.call("cudnnAddTensor", where)
        self._backward_bias = cudnn.call("cudnnConvolutionBackwardBias", where)

    def algorithms(self, pass_: str) -> list[str]:
        """All names of a pass, whether cuDNN takes them for these shapes or not. Raises `UnknownName`."""
        return list(_numbers(pass_))

    def workspace_bytes(self, pass_: str, algorithm: str) -> int | None:
        """Workspace that the algorithm needs; None where cuDNN does not support it here.

        Raises `UnknownName`, or `CudnnFailure` for any other answer.
        """
        number = _number(pass_, algorithm)
        one = self._passes[pass_]
        size = ctypes.c_size_t()
        status = one.workspace.status(
            self._cudnn.handle, one.first, one.second, self._convolution, one.output, number, ctypes.byref(size)
        )
        if is_refusal(status):
            return None
        if status:
            raise one.workspace.failure(status, f"{pass_} {algorithm}")
        return size.value

    def forward(
        self, algorithm: str, x: int, w: int, y: int, workspace: int, workspace_bytes: int, beta: float = 0.0
    ) -> None:
        """y = conv(x, w) + beta y. Raises `UnknownName`, `AlgorithmRefused`, `CudnnFailure`."""
        self._run("forward", algorithm, x, w, y, workspace, workspace_bytes, beta)

    def backward_data(
        self, algorithm: str, w: int, dy: int, dx: int, workspace: int, workspace_bytes: int, beta: float = 0.0
    ) -> None:
        """dx = gradient with respect to x + beta dx. Raises as `forward` does."""
        self._run("backward_data", algorithm, w, dy, dx, workspace, workspace_bytes, beta)

    def backward_filter(
        self, algorithm: str, x: int, dy: int, dw: int, workspace: int, workspace_bytes: int, beta: float = 0.0
    ) -> None:
        """dw = gradient with respect to w + beta dw. Raises as `forward` does."""
        self._run("backward_filter", algorithm, x, dy, dw, workspace, workspace_bytes, beta)

    def add_bias(self, bias: int, y: int) -> None:
        """y += bias, one value per channel."""
        self._add_tensor(self._cudnn.handle, self._one, self._bias, bias, self._one, self._y, y)

    def backward_bias(self, dy: int, db: int, beta: float = 0.0) -> None:
        """db = sum of dy over batch, height and width + beta db."""
        cudnn = self._cudnn
        self._backward_bias(cudnn.handle, self._one, self._y, dy, cudnn.scalar(beta), self._bias, db)

    def _run(
        self,
        pass_: str,
        algorithm: str,
        first: int,
        second: int,
        output: int,
        workspace: int,
        workspace_bytes: int,
        beta: float,
    ) -> None:
        number = _number(pass_, algorithm)
        one, cudnn = self._passes[pass_], self._cudnn
        inputs = (one.first, first, one.second, second, self._convolution)
        scratch = (workspace, workspace_bytes)
        status = one.run.status(
            cudnn.handle, self._one, *inputs, number, *scratch, cudnn.scalar(beta), one.output, output
        )
        if status:
            raise one.run.failure(status, f"{pass_} {algorithm}, workspace {workspace_bytes} B, beta {beta}")

    def _pass(self, name: str, where: str, first: int, second: int, output: int) -> _Pass:
        return _Pass(
            self._cudnn.call(f"cudnnConvolution{name}", where),
            self._cudnn.call(f"cudnnGetConvolution{name}WorkspaceSize", where),
            first,
            second,
            output,
        )


def _numbers(pass_: str) -> dict[str, int]:
    try:
        return _NUMBERS[pass_]
    except KeyError:
        raise UnknownName("CONV pass", pass_, _NUMBERS) from None


def _number(pass_: str, algorithm: str) -> int:
    numbers = _numbers(pass_)
    try:
        return numbers[algorithm]
    except KeyError:
        raise UnknownName(f"cuDNN algorithm of {pass_}", algorithm, numbers) from None


def _check_shapes(x: Tensor4, y: Tensor4, kernel: Pair, stride: Pair, padding: Pair, groups: int, where: str) -> None:
    if min(*kernel, *stride, groups) < 1 or min(padding) < 0:
        raise InvalidInput(f"{where}: expected kernel, stride and groups of 1 or more and no negative padding")
    if x.shape[1] % groups or y.shape[1] % groups:
        raise InvalidInput(f"{where}: expected channels of x and y that the groups divide")
    sides = tuple((x.shape[2 + axis] + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1))
    expected = (x.shape[0], y.shape[1], *sides)
    if y.shape != expected:
        raise InvalidInput(f"{where}: found y of shape {y.shape}; expected {expected}")
