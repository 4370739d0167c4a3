"""The cuDNN binding on a GPU against torch in float64 on the CPU: values, accumulation, channel slices, streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)

import torch.nn.functional as F  # noqa: E402, N812

from vdnnsim.machines.real.cudnn import (  # noqa: E402
    ALGORITHMS,
    Activation,
    AlgorithmRefused,
    BatchNorm,
    Convolution,
    Cudnn,
    CudnnFailure,
    LocalResponse,
    Pooling,
    Softmax,
    Tensor4,
)

SPARE_CHANNELS = 4
UNTOUCHED = -777.0
FP32_TOLERANCE = 1e-5
TF32_TOLERANCE = 3e-3
WORKSPACE_BYTES = 1 << 30


@pytest.fixture(scope="module")
def cudnn() -> Iterator[Cudnn]:
    torch.cuda.init()
    with Cudnn() as handle:
        yield handle


@pytest.fixture(scope="module")
def workspace() -> torch.Tensor:
    return torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device="cuda")


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


class OnGpu:
    """A tensor on the GPU: alone, or as a slice of channels in a larger map whose other channels must not change."""

    def __init__(self, values: torch.Tensor, sliced: bool = False) -> None:
        n, c, h, w = values.shape
        spare = SPARE_CHANNELS if sliced else 0
        self._holder = torch.full((n, c + 2 * spare, h, w), UNTOUCHED, device="cuda")
        self._spare = spare
        self.view = self._holder[:, spare : spare + c]
        self.view.copy_(values)
        whole = Tensor4.dense(tuple(self._holder.shape))
        self.layout, offset_bytes = whole.channels(spare, c)
        self.pointer = self._holder.data_ptr() + offset_bytes

    @classmethod
    def like(cls, values: torch.Tensor, sliced: bool = False) -> OnGpu:
        """Room for a result; NaN until it is written."""
        return cls(torch.full_like(values, float("nan")), sliced)

    def error(self, expected: torch.Tensor) -> float:
        """Largest difference over largest value; infinite for a NaN or where the other channels were written."""
        torch.cuda.synchronize()
        spare = torch.cat([self._holder[:, : self._spare], self._holder[:, self._holder.shape[1] - self._spare :]], 1)
        if not bool((spare == UNTOUCHED).all()):
            return float("inf")
        got = self.view.double().cpu()
        error = float((got - expected).abs().max() / expected.abs().max())
        return error if error == error else float("inf")


def gradients(function: Callable[..., torch.Tensor], dy: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    leaves = [values.clone().requires_grad_() for values in inputs]
    function(*leaves).backward(dy)
    return [leaf.grad for leaf in leaves]


CONVOLUTIONS = {
    # x, channels of y, kernel, stride, padding, groups
    "3x3": ((4, 16, 28, 28), 24, (3, 3), (1, 1), (1, 1), 1),
    "5x5 in groups": ((4, 16, 27, 27), 32, (5, 5), (1, 1), (2, 2), 2),
    "3x3 on single channels": ((4, 32, 28, 28), 32, (3, 3), (1, 1), (1, 1), 32),
    "3x3 on single channels with stride 2": ((4, 32, 28, 28), 32, (3, 3), (2, 2), (1, 1), 32),
    "11x11 with stride 4": ((4, 3, 227, 227), 16, (11, 11), (4, 4), (0, 0), 1),
    "1x1": ((4, 32, 14, 14), 16, (1, 1), (1, 1), (0, 0), 1),
    "1x7": ((4, 16, 17, 17), 16, (1, 7), (1, 1), (0, 3), 1),
}
MUST_WORK = {
    "forward": {"IMPLICIT_GEMM", "IMPLICIT_PRECOMP_GEMM"},
    "backward_data": {"ALGO_0", "ALGO_1"},
    "backward_filter": {"ALGO_0", "ALGO_1"},
}


def tolerance(algorithm: str, kernel: tuple[int, int], tf32: bool) -> float:
    """Winograd's transforms lose digits, with 5x5 filters most of them; only these two algorithms use TF32."""
    if algorithm == "WINOGRAD_NONFUSED":
        return 5e-2 if kernel == (5, 5) else 1e-3
    return TF32_TOLERANCE if tf32 and algorithm in ("IMPLICIT_PRECOMP_GEMM", "ALGO_1") else FP32_TOLERANCE


@pytest.mark.parametrize("tf32", [False, True], ids=["fp32", "tf32"])
@pytest.mark.parametrize("sliced", [False, True], ids=["dense", "sliced"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("pass_", ALGORITHMS)
def test_every_algorithm_that_cudnn_offers_gives_torchs_result(
    cudnn: Cudnn, workspace: torch.Tensor, pass_: str, case: str, sliced: bool, tf32: bool
) -> None:
    x_shape, k, kernel, stride, padding, groups = CONVOLUTIONS[case]
    x, w = random(*x_shape), random(k, x_shape[1] // groups, *kernel)

    def convolve(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, w, stride=stride, padding=padding, groups=groups)

    y = convolve(x, w)
    dy = torch.randn_like(y)
    dx, dw = gradients(convolve, dy, x, w)
    expected = {"forward": y, "backward_data": dx, "backward_filter": dw}[pass_]
    on_x, on_w, on_dy = OnGpu(x, sliced), OnGpu(w), OnGpu(dy, sliced)
    first, second = {"forward": (on_x, on_w), "backward_data": (on_w, on_dy), "backward_filter": (on_x, on_dy)}[pass_]
    out_is_map = pass_ != "backward_filter"

    layer = Convolution(cudnn, on_x.layout, on_dy.layout, kernel, stride, padding, groups, tf32)
    errors = {}
    for algorithm in layer.algorithms(pass_):
        size = layer.workspace_bytes(pass_, algorithm)
        if size is None:
            continue
        out = OnGpu.like(expected, sliced and out_is_map)
        getattr(layer, pass_)(algorithm, first.pointer, second.pointer, out.pointer, workspace.data_ptr(), size)
        once = out.error(expected)
        getattr(layer, pass_)(
            algorithm, first.pointer, second.pointer, out.pointer, workspace.data_ptr(), size, beta=1.0
        )
        errors[algorithm] = max(once, out.error(2 * expected))
    assert set(errors) >= MUST_WORK[pass_]
    wrong = {name: error for name, error in errors.items() if not error <= tolerance(name, kernel, tf32)}
    assert not wrong


def test_bias(cudnn: Cudnn) -> None:
    x, bias, dy = random(4, 6, 9, 9), random(1, 6, 1, 1), random(4, 6, 9, 9)
    for sliced in (False, True):
        y, on_bias, on_dy, db = OnGpu(x, sliced), OnGpu(bias), OnGpu(dy, sliced), OnGpu.like(bias)
        layer = Convolution(cudnn, y.layout, y.layout, (1, 1))
        layer.add_bias(on_bias.pointer, y.pointer)
        assert y.error(x + bias) <= FP32_TOLERANCE
        layer.backward_bias(on_dy.pointer, db.pointer)
        layer.backward_bias(on_dy.pointer, db.pointer, beta=1.0)
        assert db.error(2 * dy.sum((0, 2, 3), keepdim=True)) <= FP32_TOLERANCE


def test_refusals_are_told_from_failures(cudnn: Cudnn, workspace: torch.Tensor) -> None:
    x = OnGpu(random(4, 8, 16, 16))
    layer = Convolution(cudnn, x.layout, x.layout, (3, 3), padding=(1, 1))
    w, y = OnGpu(random(8, 8, 3, 3)), OnGpu.like(random(4, 8, 16, 16))
    assert layer.workspace_bytes("forward", "DIRECT") is None
    with pytest.raises(AlgorithmRefused, match="forward DIRECT"):
        layer.forward("DIRECT", x.pointer, w.pointer, y.pointer, workspace.data_ptr(), WORKSPACE_BYTES)
    with pytest.raises(CudnnFailure, match="forward FFT"):
        layer.forward("FFT", x.pointer, w.pointer, y.pointer, 0, 0)


POOLS = {
    # x, kernel, stride, padding, rounded up
    "2x2": ((4, 8, 16, 16), (2, 2), (2, 2), (0, 0), False),
    "3x3 overlapping": ((4, 8, 27, 27), (3, 3), (2, 2), (0, 0), False),
    "3x3 overhanging": ((4, 8, 14, 14), (3, 3), (2, 2), (0, 0), True),
    "3x3 padded": ((4, 8, 14, 14), (3, 3), (1, 1), (1, 1), False),
    "3x3 padded and overhanging": ((4, 8, 14, 16), (3, 3), (2, 2), (1, 1), True),
    "whole map": ((4, 8, 7, 7), (7, 7), (1, 1), (0, 0), False),
}


@pytest.mark.parametrize("sliced", [False, True], ids=["dense", "sliced"])
@pytest.mark.parametrize("kind", ["max", "max in a fixed order", "average"])
@pytest.mark.parametrize("case", POOLS)
def test_pooling(cudnn: Cudnn, case: str, kind: str, sliced: bool) -> None:
    average = kind == "average"
    shape, kernel, stride, padding, ceil = POOLS[case]
    x = random(*shape).relu()  # zeros side by side: ties, as after ACTV

    def pool(x: torch.Tensor) -> torch.Tensor:
        function = F.avg_pool2d if average else F.max_pool2d
        return function(x, kernel, stride, padding, ceil_mode=ceil)

    y = pool(x)
    dy = torch.randn_like(y)
    (dx,) = gradients(pool, dy, x)
    on_x, on_y, on_dy, on_dx = OnGpu(x, sliced), OnGpu.like(y, sliced), OnGpu(dy, sliced), OnGpu.like(dx, sliced)
    layer = Pooling(cudnn, on_x.layout, on_y.layout, kernel, stride, padding, average, kind == "max in a fixed order")
    layer.forward(on_x.pointer, on_y.pointer)
    assert on_y.error(y) <= FP32_TOLERANCE
    layer.backward(on_y.pointer, on_dy.pointer, on_x.pointer, on_dx.pointer)
    assert on_dx.error(dx) <= FP32_TOLERANCE
    layer.backward(on_y.pointer, on_dy.pointer, on_x.pointer, on_dx.pointer, beta=1.0)
    assert on_dx.error(2 * dx) <= FP32_TOLERANCE


@pytest.mark.parametrize("sliced", [False, True], ids=["dense", "sliced"])
def test_activation_works_in_place(cudnn: Cudnn, sliced: bool) -> None:
    x, dy = random(4, 8, 14, 14), random(4, 8, 14, 14)
    dx = dy * (x > 0)
    apart, own, gradient = OnGpu.like(x, sliced), OnGpu(x, sliced), OnGpu(dy, sliced)
    layer = Activation(cudnn, own.layout)
    layer.forward(own.pointer, apart.pointer)
    assert apart.error(x.relu()) <= FP32_TOLERANCE
    layer.forward(own.pointer, own.pointer)
    assert own.error(x.relu()) <= FP32_TOLERANCE
    layer.backward(own.pointer, gradient.pointer, own.pointer, gradient.pointer)
    assert gradient.error(dx) <= FP32_TOLERANCE
    incoming, summed = OnGpu(dy, sliced), OnGpu(dx, sliced)
    layer.backward(own.pointer, incoming.pointer, own.pointer, summed.pointer, beta=1.0)
    assert summed.error(2 * dx) <= FP32_TOLERANCE


@pytest.mark.parametrize("k", [1.0, 2.0])
@pytest.mark.parametrize("sliced", [False, True], ids=["dense", "sliced"])
def test_local_response(cudnn: Cudnn, sliced: bool, k: float) -> None:
    x, dy = 20 * random(4, 12, 14, 14), random(4, 12, 14, 14)

    def normalise(x: torch.Tensor) -> torch.Tensor:
        return F.local_response_norm(x, 5, k=k)

    y = normalise(x)
    (dx,) = gradients(normalise, dy, x)
    on_x, on_y, on_dy, on_dx = OnGpu(x, sliced), OnGpu.like(y, sliced), OnGpu(dy, sliced), OnGpu.like(dx, sliced)
    layer = LocalResponse(cudnn, on_x.layout, 5, k=k)
    layer.forward(on_x.pointer, on_y.pointer)
    assert on_y.error(y) <= FP32_TOLERANCE
    layer.backward(on_y.pointer, on_dy.pointer, on_x.pointer, on_dx.pointer)
    layer.backward(on_y.pointer, on_dy.pointer, on_x.pointer, on_dx.pointer, beta=1.0)
    assert on_dx.error(2 * dx) <= FP32_TOLERANCE


@pytest.mark.parametrize("sliced", [False, True], ids=["dense", "sliced"])
def test_batch_norm(cudnn: Cudnn, sliced: bool) -> None:
    x, dy = random(4, 8, 14, 14) + 3, random(4, 8, 14, 14)
    scale, bias, mean, var = random(8), random(8), random(8), random(8).abs()
    new_mean, new_var = mean.clone(), var.clone()
    y = F.batch_norm(x, new_mean, new_var, scale, bias, training=True)

    def normalise(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, None, None, scale, bias, training=True)

    dx, dscale, dbias = gradients(normalise, dy, x, scale, bias)
    batch_mean = x.mean((0, 2, 3))
    inverse_deviation = (x.var((0, 2, 3), correction=0) + 1e-5).rsqrt()

    def column(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(1, -1, 1, 1)

    on_x, on_y, on_dy, on_dx = OnGpu(x, sliced), OnGpu.like(y, sliced), OnGpu(dy, sliced), OnGpu.like(dx, sliced)
    on_scale, on_bias, on_mean, on_var = (OnGpu(column(values)) for values in (scale, bias, mean, var))
    saved_mean, saved_invstd, on_dscale, on_dbias = (OnGpu.like(column(scale)) for _ in range(4))
    layer = BatchNorm(cudnn, on_x.layout)
    layer.forward(
        on_x.pointer,
        on_y.pointer,
        on_scale.pointer,
        on_bias.pointer,
        on_mean.pointer,
        on_var.pointer,
        saved_mean.pointer,
        saved_invstd.pointer,
    )
    pairs = [(on_mean, new_mean), (on_var, new_var), (saved_mean, batch_mean), (saved_invstd, inverse_deviation)]
    assert on_y.error(y) <= FP32_TOLERANCE
    assert all(got.error(column(wanted)) <= FP32_TOLERANCE for got, wanted in pairs)
    again = OnGpu.like(y, sliced)
    layer.forward(on_x.pointer, again.pointer, on_scale.pointer, on_bias.pointer, 0, 0, 0, 0)
    assert torch.equal(again.view, on_y.view), "made again without what it keeps, Y is the same to the bit"
    parameters = (on_scale.pointer, on_dscale.pointer, on_dbias.pointer, saved_mean.pointer, saved_invstd.pointer)
    layer.backward(on_x.pointer, on_dy.pointer, on_dx.pointer, *parameters)
    assert on_dx.error(dx) <= FP32_TOLERANCE
    layer.backward(on_x.pointer, on_dy.pointer, on_dx.pointer, *parameters, beta=1.0)
    assert on_dx.error(2 * dx) <= FP32_TOLERANCE
    assert on_dscale.error(column(dscale)) <= FP32_TOLERANCE
    assert on_dbias.error(column(dbias)) <= FP32_TOLERANCE


@pytest.mark.parametrize("log", [False, True], ids=["softmax", "log softmax"])
def test_softmax(cudnn: Cudnn, log: bool) -> None:
    x, dy = 10 * random(16, 100, 1, 1), random(16, 100, 1, 1)

    def softmax(x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(x, 1) if log else F.softmax(x, 1)

    (dx,) = gradients(softmax, dy, x)
    on_x, on_y, on_dy, on_dx = OnGpu(x), OnGpu.like(x), OnGpu(dy), OnGpu.like(dx)
    layer = Softmax(cudnn, on_x.layout, log)
    layer.forward(on_x.pointer, on_y.pointer)
    assert on_y.error(softmax(x)) <= FP32_TOLERANCE
    layer.backward(on_y.pointer, on_dy.pointer, on_dx.pointer)
    assert on_dx.error(dx) <= FP32_TOLERANCE


def busy_stream() -> torch.cuda.Event:
    """Fill the default stream for about a second; the event is the end of it."""
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)
    end = torch.cuda.Event()
    end.record()
    return end


def test_no_convolution_waits_for_the_gpu(cudnn: Cudnn, workspace: torch.Tensor) -> None:
    x, w, y = OnGpu(random(4, 16, 28, 28)), OnGpu(random(16, 16, 3, 3)), OnGpu(random(4, 16, 28, 28))
    pointers = {
        "forward": (x.pointer, w.pointer, y.pointer),
        "backward_data": (w.pointer, y.pointer, x.pointer),
        "backward_filter": (x.pointer, y.pointer, w.pointer),
    }

    def run_all() -> None:
        for tf32 in (False, True):
            layer = Convolution(cudnn, x.layout, y.layout, (3, 3), padding=(1, 1), tf32=tf32)
            for pass_, three in pointers.items():
                for algorithm in layer.algorithms(pass_):
                    size = layer.workspace_bytes(pass_, algorithm)
                    if size is not None:
                        getattr(layer, pass_)(algorithm, *three, workspace.data_ptr(), size)

    run_all()  # loads the kernels, which may wait
    end = busy_stream()
    run_all()
    assert not end.query()


def test_work_runs_in_the_stream_that_was_set(cudnn: Cudnn) -> None:
    x = OnGpu(-random(4, 8, 14, 14).abs())
    side, end = torch.cuda.Stream(), busy_stream()
    try:
        cudnn.set_stream(side.cuda_stream)
        Activation(cudnn, x.layout).forward(x.pointer, x.pointer)
        side.synchronize()
        assert not end.query()
    finally:
        cudnn.set_stream(0)
    torch.cuda.synchronize()
    assert bool((x.view == 0).all())
