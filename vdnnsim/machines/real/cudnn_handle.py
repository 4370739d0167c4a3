"""A cuDNN handle with the descriptors made through it, and the shape and strides of a tensor."""

from __future__ import annotations

import ctypes
import math
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.cudnn_library import Call, CudnnFailure, Library
from vdnnsim.machines.real.cudnn_loading import load_library

ELEMENT_BYTES = 4
FLOAT = 0
"""CUDNN_DATA_FLOAT"""
PROPAGATE_NAN = 1
"""CUDNN_PROPAGATE_NAN: a NaN that somebody left in a buffer shows up in the result, as it does in torch."""
_NCHW = 0
_LARGEST = 2**31 - 1
_NOT_INITIALIZED = 1001


@dataclass(frozen=True)
class Tensor4:
    """An fp32 tensor in device memory: `shape` is (n, c, h, w), `strides` are elements between neighbours of each axis.

    Raises `InvalidInput` unless both hold four positive integers that a C int can hold.
    """

    shape: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        for what, values in (("shape", self.shape), ("strides", self.strides)):
            if len(values) != 4 or not all(1 <= value <= _LARGEST for value in values):
                raise InvalidInput(f"tensor: {what}: found {values}; expected four integers from 1 to {_LARGEST}")

    @classmethod
    def dense(cls, shape: tuple[int, int, int, int]) -> Tensor4:
        """NCHW without gaps."""
        _, c, h, w = shape
        return cls(shape, (c * h * w, h * w, w, 1))

    def channels(self, first: int, count: int) -> tuple[Tensor4, int]:
        """The view of `count` channels from `first` on, and its offset in bytes from this tensor's address.

        Raises `InvalidInput` for channels that this tensor does not have.
        """
        n, c, h, w = self.shape
        if not 0 <= first < first + count <= c:
            raise InvalidInput(f"tensor: channels {first} to {first + count - 1}: expected some of the {c} of {self}")
        return Tensor4((n, count, h, w), self.strides), first * self.strides[1] * ELEMENT_BYTES

    @property
    def is_dense(self) -> bool:
        return self == Tensor4.dense(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the elements, gaps not counted."""
        return math.prod(self.shape) * ELEMENT_BYTES

    def __str__(self) -> str:
        text = "x".join(map(str, self.shape))
        return text if self.is_dense else f"{text} (strides {', '.join(map(str, self.strides))})"


class Cudnn:
    """One cuDNN handle on the current CUDA device; `with Cudnn() as cudnn:` closes it.

    It owns the descriptors of all layers made with it: they live until `close`. Not for several threads at once.
    Raises `InvalidInput` where there is no GPU or no cuDNN 9.
    """

    def __init__(self, library: Library | None = None) -> None:
        self.library = library or load_library()
        self._owned = ExitStack()
        self._scalars: dict[float, ctypes.c_float] = {}
        self._handle = 0
        out = ctypes.c_void_p()
        create = self.call("cudnnCreate", "a new handle")
        status = create.status(ctypes.byref(out))
        if status == _NOT_INITIALIZED:
            raise InvalidInput(f"cuDNN {self.version}: found no usable NVIDIA GPU ({create.failure(status)})")
        if status:
            raise create.failure(status)
        self._handle = out.value or 0
        self._owned.callback(self.call("cudnnDestroy", "close").status, self._handle)
        self._set_stream = self.call("cudnnSetStream", "a handle")

    @property
    def version(self) -> str:
        """Such as "9.19.1"."""
        return self.library.version

    @property
    def handle(self) -> int:
        """The raw cudnnHandle_t. Raises `InvalidInput` after `close`."""
        if not self._handle:
            raise InvalidInput("cuDNN: this handle is closed; expected an open one")
        return self._handle

    def set_stream(self, stream: int) -> None:
        """Run what is called from now on in this cudaStream_t; 0 is the default stream."""
        self._set_stream(self.handle, stream)

    def close(self) -> None:
        """Destroy descriptors and handle; layers made with it cannot be used any more. Twice is fine."""
        self._owned.close()
        self._handle = 0

    def __enter__(self) -> Cudnn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, name: str, where: str) -> Call:
        """The function `name`, with `where` in its errors."""
        return Call(self.library, name, where)

    def scalar(self, value: float) -> int:
        """Address of a float in host memory, as cuDNN takes alpha and beta; kept as long as this object."""
        kept = self._scalars.get(value)
        if kept is None:
            kept = self._scalars[value] = ctypes.c_float(value)
        return ctypes.addressof(kept)

    def descriptor(self, kind: str, where: str) -> int:
        """A new descriptor of a kind: Tensor, Filter, Convolution, Pooling, Activation or LRN."""
        if not self._handle:
            raise InvalidInput("cuDNN: this handle is closed; expected an open one")
        out = ctypes.c_void_p()
        self.call(f"cudnnCreate{kind}Descriptor", where)(ctypes.byref(out))
        if out.value is None:
            raise CudnnFailure(f"cudnnCreate{kind}Descriptor", 0, "success", "but gave no descriptor", where)
        self._owned.callback(self.call(f"cudnnDestroy{kind}Descriptor", where).status, out.value)
        return out.value

    def tensor(self, tensor: Tensor4, where: str) -> int:
        """A descriptor of a tensor. Raises `CudnnFailure` for strides that cuDNN does not take."""
        made = self.descriptor("Tensor", where)
        self.call("cudnnSetTensor4dDescriptorEx", f"{where}, tensor {tensor}")(
            made, FLOAT, *tensor.shape, *tensor.strides
        )
        return made

    def filters(self, shape: tuple[int, int, int, int], where: str) -> int:
        """A descriptor of dense weights (k, c per group, kernel height, kernel width)."""
        made = self.descriptor("Filter", where)
        self.call("cudnnSetFilter4dDescriptor", f"{where}, filters {shape}")(made, FLOAT, _NCHW, *shape)
        return made
