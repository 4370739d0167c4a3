"""The cuDNN binding without a GPU: a stand-in for the C library records what each call passes and answers as told."""

from __future__ import annotations

import ctypes
import importlib.machinery
import pickle
import sys
import types

import pytest

from vdnnsim.errors import InvalidInput, UnknownName
from vdnnsim.machines.real.cudnn import (
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
from vdnnsim.machines.real.cudnn_library import SIGNATURES, Library
from vdnnsim.machines.real.cudnn_loading import load_library

HANDLE = 7
NOT_SUPPORTED = 3000
BAD_PARAM = 2000
NAMES = {0: b"CUDNN_STATUS_SUCCESS", 2000: b"CUDNN_STATUS_BAD_PARAM", 3000: b"CUDNN_STATUS_NOT_SUPPORTED"}


class StandInFunction:
    """One C function: checks count and types of its arguments by ctypes' own rules, records them, answers a status."""

    def __init__(self, name: str, library: StandIn) -> None:
        self.name, self.library = name, library
        self.argtypes: tuple[type, ...] = ()
        self.restype: object = None

    def __call__(self, *arguments: object) -> object:
        assert len(arguments) == len(self.argtypes), self.name
        for kind, argument in zip(self.argtypes, arguments, strict=True):
            kind.from_param(argument)
        return self.library.answer(self.name, arguments)


class StandIn:
    """cuDNN as far as the binding sees it. `statuses` says which calls fail; `calls` is (name, arguments) in order."""

    def __init__(self, version: int = 91901, missing: str = "") -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self.statuses: dict[str, int] = {}
        self.made: list[int] = []
        self.workspace_bytes = 4096
        self._version, self._missing = version, missing
        self._functions: dict[str, StandInFunction] = {}

    def __getattr__(self, name: str) -> StandInFunction:
        if name == self._missing:
            raise AttributeError(name)
        return self._functions.setdefault(name, StandInFunction(name, self))

    def answer(self, name: str, arguments: tuple[object, ...]) -> object:
        if name == "cudnnGetVersion":
            return self._version
        if name == "cudnnGetErrorString":
            return NAMES.get(arguments[0], b"CUDNN_STATUS_OTHER")
        if name == "cudnnGetLastErrorString":
            arguments[0].value = b"too many\nchannels"
            return None
        assert len(arguments) == len(SIGNATURES[name])
        self.calls.append((name, arguments))
        status = self.statuses.get(name, 0)
        if name.startswith("cudnnCreate") and not status:
            self.made.append(HANDLE + len(self.made))
            arguments[0]._obj.value = self.made[-1]
        if name.endswith("WorkspaceSize") and not status:
            arguments[-1]._obj.value = self.workspace_bytes
        return status

    def last(self, name: str) -> tuple[object, ...]:
        return [arguments for called, arguments in self.calls if called == name][-1]


@pytest.fixture
def c() -> StandIn:
    return StandIn()


@pytest.fixture
def cudnn(c: StandIn) -> Cudnn:
    return Cudnn(Library(c, "libcudnn.so.9"))


def convolution(cudnn: Cudnn, **changes: object) -> Convolution:
    options = {"kernel": (3, 5), "stride": (1, 2), "padding": (1, 2), "groups": 2} | changes
    return Convolution(cudnn, Tensor4.dense((2, 4, 8, 8)), Tensor4.dense((2, 6, 8, 4)), **options)


def floats_at(address: object) -> float:
    return ctypes.c_float.from_address(address).value


def test_handle_and_its_stream(c: StandIn, cudnn: Cudnn) -> None:
    cudnn.set_stream(0xABC)
    assert cudnn.version == "9.19.1"
    assert c.last("cudnnSetStream") == (HANDLE, 0xABC)


def test_close_destroys_every_descriptor_once_and_the_handle_last(c: StandIn, cudnn: Cudnn) -> None:
    convolution(cudnn)
    Pooling(cudnn, Tensor4.dense((1, 2, 4, 4)), Tensor4.dense((1, 2, 2, 2)), (2, 2), (2, 2))
    cudnn.close()
    cudnn.close()
    destroyed = [arguments[0] for name, arguments in c.calls if name.startswith("cudnnDestroy")]
    assert destroyed == c.made[::-1]
    assert destroyed[-1] == HANDLE


def test_a_closed_handle_is_refused_before_cudnn_sees_it(c: StandIn, cudnn: Cudnn) -> None:
    layer = Activation(cudnn, Tensor4.dense((1, 2, 4, 4)))
    cudnn.close()
    seen = len(c.calls)
    with pytest.raises(InvalidInput, match="closed"):
        layer.forward(1, 2)
    with pytest.raises(InvalidInput, match="closed"):
        Activation(cudnn, Tensor4.dense((1, 2, 4, 4)))
    assert len(c.calls) == seen


def test_no_gpu_is_one_line(c: StandIn) -> None:
    c.statuses["cudnnCreate"] = 1001
    with pytest.raises(InvalidInput, match=r"^cuDNN 9\.19\.1: found no usable NVIDIA GPU") as caught:
        Cudnn(Library(c, "libcudnn.so.9"))
    assert "\n" not in str(caught.value)


def test_torch_without_cuda_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = types.ModuleType("torch")
    torch.__spec__ = importlib.machinery.ModuleSpec("torch", None)
    torch.__version__ = "2.11.0+cpu"
    torch.cuda = types.SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(InvalidInput, match=r"torch 2\.11\.0\+cpu finds no NVIDIA GPU"):
        load_library()


@pytest.mark.parametrize(
    ("library", "complaint"),
    [(StandIn(version=8907), "found cuDNN version 8907"), (StandIn(missing="cudnnGetLastErrorString"), "no function")],
)
def test_a_library_that_is_not_cudnn_9_is_refused(library: StandIn, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        Library(library, "libcudnn.so")


@pytest.mark.parametrize(("tf32", "math_type"), [(False, 3), (True, 0)])
def test_convolution_is_described_as_asked(c: StandIn, cudnn: Cudnn, tf32: bool, math_type: int) -> None:
    assert convolution(cudnn, tf32=tf32).weights_shape == (6, 2, 3, 5)
    assert c.last("cudnnSetConvolution2dDescriptor")[1:] == (1, 2, 1, 2, 1, 1, 1, 0)
    assert c.last("cudnnSetConvolutionGroupCount")[1] == 2
    assert c.last("cudnnSetConvolutionMathType")[1] == math_type
    assert c.last("cudnnSetFilter4dDescriptor")[1:] == (0, 0, 6, 2, 3, 5)


@pytest.mark.parametrize(
    ("pass_", "function", "algorithm", "number"),
    [
        ("forward", "cudnnConvolutionForward", "WINOGRAD_NONFUSED", 7),
        ("backward_data", "cudnnConvolutionBackwardData", "FFT_TILING", 3),
        ("backward_filter", "cudnnConvolutionBackwardFilter", "FFT_TILING", 6),
    ],
)
def test_a_pass_hands_its_pointers_on_in_order(
    c: StandIn, cudnn: Cudnn, pass_: str, function: str, algorithm: str, number: int
) -> None:
    layer = convolution(cudnn)
    getattr(layer, pass_)(algorithm, 0x10, 0x20, 0x30, 0x40, 4096, beta=1.0)
    handle, alpha, _, first, _, second, _, asked, scratch, size, beta, _, output = c.last(function)
    assert (handle, first, second, output) == (HANDLE, 0x10, 0x20, 0x30)
    assert (asked, scratch, size) == (number, 0x40, 4096)
    assert (floats_at(alpha), floats_at(beta)) == (1.0, 1.0)


def test_beta_is_zero_unless_said(c: StandIn, cudnn: Cudnn) -> None:
    convolution(cudnn).forward("GEMM", 1, 2, 3, 4, 5)
    assert floats_at(c.last("cudnnConvolutionForward")[10]) == 0.0


def test_workspace_is_none_where_cudnn_refuses_and_an_error_otherwise(c: StandIn, cudnn: Cudnn) -> None:
    layer = convolution(cudnn)
    assert layer.workspace_bytes("forward", "FFT") == 4096
    c.statuses["cudnnGetConvolutionForwardWorkspaceSize"] = NOT_SUPPORTED + 4
    assert layer.workspace_bytes("forward", "FFT") is None
    c.statuses["cudnnGetConvolutionForwardWorkspaceSize"] = BAD_PARAM
    with pytest.raises(CudnnFailure, match="BAD_PARAM") as caught:
        layer.workspace_bytes("forward", "FFT")
    assert not isinstance(caught.value, AlgorithmRefused)


def test_a_refusal_names_call_status_algorithm_and_shapes(c: StandIn, cudnn: Cudnn) -> None:
    layer = convolution(cudnn)
    c.statuses["cudnnConvolutionForward"] = NOT_SUPPORTED
    with pytest.raises(AlgorithmRefused) as caught:
        layer.forward("WINOGRAD", 1, 2, 3, 4, 5)
    assert str(caught.value) == (
        "cudnnConvolutionForward answered CUDNN_STATUS_NOT_SUPPORTED (3000): too many channels; in CONV 2x4x8x8 -> "
        "2x6x8x4, kernel (3, 5), stride (1, 2), padding (1, 2), groups 2, fp32, forward WINOGRAD, workspace 5 B, "
        "beta 0.0"
    )
    assert isinstance(caught.value, InvalidInput)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("pass_", ALGORITHMS)
def test_unknown_names_are_refused_with_the_known_ones(cudnn: Cudnn, pass_: str) -> None:
    layer = convolution(cudnn)
    assert layer.algorithms(pass_) == list(ALGORITHMS[pass_])
    with pytest.raises(UnknownName, match="WINOGRAD_NONFUSED"):
        layer.workspace_bytes(pass_, "WINOGRAD_FUSED")
    with pytest.raises(UnknownName, match="backward_data"):
        layer.algorithms("backward")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"padding": (0, 2)}, r"found y of shape \(2, 6, 8, 4\); expected \(2, 6, 6, 4\)"),
        ({"groups": 4}, "that the groups divide"),
        ({"stride": (0, 2)}, "of 1 or more"),
    ],
)
def test_convolutions_that_cannot_be_are_refused(cudnn: Cudnn, changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        convolution(cudnn, **changes)


@pytest.mark.parametrize(("side", "fits"), [(6, True), (7, True), (5, False), (8, False)])
def test_pooling_takes_the_size_rounded_down_or_up(cudnn: Cudnn, side: int, fits: bool) -> None:
    x, y = Tensor4.dense((1, 2, 14, 14)), Tensor4.dense((1, 2, side, side))
    if fits:
        Pooling(cudnn, x, y, (3, 3), (2, 2))
    else:
        with pytest.raises(InvalidInput, match="6 or 7 by 6 or 7"):
            Pooling(cudnn, x, y, (3, 3), (2, 2))


@pytest.mark.parametrize(
    ("average", "deterministic", "mode"), [(False, False, 0), (False, True, 3), (True, False, 1), (True, True, 1)]
)
def test_pooling_is_described_as_asked(c: StandIn, cudnn: Cudnn, average: bool, deterministic: bool, mode: int) -> None:
    x, y = Tensor4.dense((1, 2, 14, 12)), Tensor4.dense((1, 2, 7, 12))
    layer = Pooling(cudnn, x, y, (3, 5), (2, 1), (1, 2), average, deterministic)
    assert c.last("cudnnSetPooling2dDescriptor")[1:] == (mode, 1, 3, 5, 1, 2, 2, 1)
    layer.backward(0x10, 0x20, 0x30, 0x40, beta=1.0)
    arguments = c.last("cudnnPoolingBackward")
    assert (arguments[4], arguments[6], arguments[8], arguments[11]) == (0x10, 0x20, 0x30, 0x40)
    assert floats_at(arguments[9]) == 1.0


def test_layers_hand_their_pointers_on_in_order(c: StandIn, cudnn: Cudnn) -> None:
    t = Tensor4.dense((1, 2, 4, 4))
    Activation(cudnn, t).backward(0x10, 0x20, 0x30, 0x40)
    assert c.last("cudnnActivationBackward")[4::2][:2] == (0x10, 0x20)
    assert c.last("cudnnActivationBackward")[8::3] == (0x30, 0x40)
    LocalResponse(cudnn, t, 5).backward(0x10, 0x20, 0x30, 0x40)
    assert c.last("cudnnSetLRNDescriptor")[1:] == (5, 1e-4, 0.75, 1.0)
    assert [c.last("cudnnLRNCrossChannelBackward")[at] for at in (5, 7, 9, 12)] == [0x10, 0x20, 0x30, 0x40]
    norm = BatchNorm(cudnn, t)
    norm.forward(1, 2, 3, 4, 5, 6, 7, 8)
    assert [c.last("cudnnBatchNormalizationForwardTraining")[at] for at in (5, 7, 9, 10, 12, 13, 15, 16)] == [
        *range(1, 9)
    ]
    norm.backward(1, 2, 3, 4, 5, 6, 7, 8, beta=1.0)
    arguments = c.last("cudnnBatchNormalizationBackward")
    assert [arguments[at] for at in (7, 9, 11, 13, 14, 15, 17, 18)] == [*range(1, 9)]
    assert [floats_at(arguments[at]) for at in (2, 3, 4, 5)] == [1.0, 1.0, 1.0, 0.0]
    Softmax(cudnn, t, log=True).backward(0x10, 0x20, 0x30)
    assert c.last("cudnnSoftmaxBackward")[1:3] == (2, 1)
    assert [c.last("cudnnSoftmaxBackward")[at] for at in (5, 7, 10)] == [0x10, 0x20, 0x30]


def test_a_refused_tensor_names_its_strides(c: StandIn, cudnn: Cudnn) -> None:
    c.statuses["cudnnSetTensor4dDescriptorEx"] = BAD_PARAM
    with pytest.raises(CudnnFailure, match=r"ACTV 2x3x4x5 \(strides 1, 1, 1, 1\)"):
        Activation(cudnn, Tensor4((2, 3, 4, 5), (1, 1, 1, 1)))


def test_channel_views() -> None:
    whole = Tensor4.dense((2, 8, 3, 5))
    view, offset_bytes = whole.channels(2, 4)
    assert view == Tensor4((2, 4, 3, 5), (120, 15, 5, 1))
    assert offset_bytes == 2 * 15 * 4
    assert whole.is_dense
    assert not view.is_dense
    assert view.size_bytes == 2 * 4 * 15 * 4
    with pytest.raises(InvalidInput, match="channels 6 to 9"):
        whole.channels(6, 4)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 0, 4, 4), (2, 3, 4, 2**31)])
def test_tensors_that_cannot_be_are_refused(shape: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInput, match="four integers"):
        Tensor4(shape, (1, 1, 1, 1))
