"""cuDNN's functions: their types, how they are called, and what their status codes become.

The functions are those of cuDNN's legacy C API, as `cudnn_ops.h` and `cudnn_cnn.h` of cuDNN 9 declare them. That API
names the algorithm of each call, which frameworks and cuDNN's newer graph API do not.
"""

from __future__ import annotations

import ctypes

from vdnnsim.errors import InvalidInput

_LOWEST_MAJOR_VERSION = 9
_MESSAGE_BYTES = 1024
_C_TYPES = {
    "p": ctypes.c_void_p,  # handles, descriptors, device and host addresses
    "i": ctypes.c_int,  # integers and enumerations
    "u": ctypes.c_uint,
    "d": ctypes.c_double,
    "z": ctypes.c_size_t,
}
SIGNATURES = {
    "cudnnCreate": "p",
    "cudnnDestroy": "p",
    "cudnnSetStream": "pp",
    "cudnnCreateTensorDescriptor": "p",
    "cudnnDestroyTensorDescriptor": "p",
    "cudnnSetTensor4dDescriptorEx": "piiiiiiiii",
    "cudnnCreateFilterDescriptor": "p",
    "cudnnDestroyFilterDescriptor": "p",
    "cudnnSetFilter4dDescriptor": "piiiiii",
    "cudnnAddTensor": "ppppppp",
    "cudnnCreateConvolutionDescriptor": "p",
    "cudnnDestroyConvolutionDescriptor": "p",
    "cudnnSetConvolution2dDescriptor": "piiiiiiii",
    "cudnnSetConvolutionMathType": "pi",
    "cudnnSetConvolutionGroupCount": "pi",
    "cudnnConvolutionForward": "pppppppipzppp",
    "cudnnConvolutionBackwardData": "pppppppipzppp",
    "cudnnConvolutionBackwardFilter": "pppppppipzppp",
    "cudnnConvolutionBackwardBias": "ppppppp",
    "cudnnGetConvolutionForwardWorkspaceSize": "pppppip",
    "cudnnGetConvolutionBackwardDataWorkspaceSize": "pppppip",
    "cudnnGetConvolutionBackwardFilterWorkspaceSize": "pppppip",
    "cudnnCreatePoolingDescriptor": "p",
    "cudnnDestroyPoolingDescriptor": "p",
    "cudnnSetPooling2dDescriptor": "piiiiiiii",
    "cudnnPoolingForward": "pppppppp",
    "cudnnPoolingBackward": "pppppppppppp",
    "cudnnCreateActivationDescriptor": "p",
    "cudnnDestroyActivationDescriptor": "p",
    "cudnnSetActivationDescriptor": "piid",
    "cudnnActivationForward": "pppppppp",
    "cudnnActivationBackward": "pppppppppppp",
    "cudnnCreateLRNDescriptor": "p",
    "cudnnDestroyLRNDescriptor": "p",
    "cudnnSetLRNDescriptor": "puddd",
    "cudnnLRNCrossChannelForward": "ppipppppp",
    "cudnnLRNCrossChannelBackward": "ppipppppppppp",
    "cudnnBatchNormalizationForwardTraining": "pipppppppppdppdpp",
    "cudnnBatchNormalizationBackward": "pippppppppppppppdpp",
    "cudnnSoftmaxForward": "piipppppp",
    "cudnnSoftmaxBackward": "piipppppppp",
}
"""The parameters of each function, one letter each: p pointer, i int or enumeration, u unsigned, d double, z size_t."""


class CudnnFailure(InvalidInput):
    """A cuDNN call that did not succeed; ``args`` is (call, status number, status name, cuDNN's message, where)."""

    @property
    def status(self) -> int:
        return int(self.args[1])

    def __str__(self) -> str:
        call, status, name, message, where = self.args
        said = f": {message}" if message else ""
        return f"{call} answered {name} ({status}){said}; in {where}"


class AlgorithmRefused(CudnnFailure):
    """cuDNN does not support this algorithm, or this call, on these shapes, strides and math; same ``args``."""


def is_refusal(status: int) -> bool:
    """Whether a status is of the category CUDNN_STATUS_NOT_SUPPORTED (3000 to 3999)."""
    return status // 1000 == 3


class Call:
    """One cuDNN function, bound to the place that calls it: `where` stands in the errors."""

    __slots__ = ("_function", "_library", "name", "where")

    def __init__(self, library: Library, name: str, where: str) -> None:
        self._library = library
        self._function = library.function(name)
        self.name = name
        self.where = where

    def __call__(self, *arguments: object) -> None:
        """Call, and raise `AlgorithmRefused` or `CudnnFailure` unless it succeeded."""
        status = self._function(*arguments)
        if status:
            raise self.failure(status)

    def status(self, *arguments: object) -> int:
        """Call, and leave the status to the caller; 0 is success."""
        return int(self._function(*arguments))

    def failure(self, status: int, detail: str = "") -> CudnnFailure:
        """The error for a status; to be asked at once, since cuDNN keeps only its last message."""
        kind = AlgorithmRefused if is_refusal(status) else CudnnFailure
        where = f"{self.where}, {detail}" if detail else self.where
        return kind(self.name, status, self._library.status_name(status), self._library.last_message(), where)


class Library:
    """cuDNN's functions with their types set. `functions` is a `ctypes.CDLL`, or anything with such attributes.

    Raises `InvalidInput` for a version before 9.
    """

    def __init__(self, functions: object, path: str) -> None:
        self._functions = functions
        self._bound: dict[str, ctypes._NamedFuncPointer] = {}
        version = self._untyped("cudnnGetVersion", ctypes.c_size_t)
        number = version()
        if number // 10_000 < _LOWEST_MAJOR_VERSION:
            raise InvalidInput(
                f"{path}: found cuDNN version {number}, expected version {_LOWEST_MAJOR_VERSION} or later"
            )
        self.version = f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
        self.path = path
        self._error_string = self._untyped("cudnnGetErrorString", ctypes.c_char_p, ctypes.c_int)
        self._last_error = self._untyped("cudnnGetLastErrorString", None, ctypes.c_char_p, ctypes.c_size_t)

    def function(self, name: str) -> ctypes._NamedFuncPointer:
        """The function of this name, its parameters as in `SIGNATURES`; it returns the status."""
        if name not in self._bound:
            self._bound[name] = self._untyped(name, ctypes.c_int, *(_C_TYPES[letter] for letter in SIGNATURES[name]))
        return self._bound[name]

    def status_name(self, status: int) -> str:
        name: bytes = self._error_string(status)
        return name.decode()

    def last_message(self) -> str:
        """What cuDNN says about the last failure on this thread, in one line; empty if it says nothing."""
        buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        self._last_error(buffer, _MESSAGE_BYTES)
        return " ".join(buffer.value.decode(errors="replace").split())

    def _untyped(self, name: str, result: object, *parameters: object) -> ctypes._NamedFuncPointer:
        try:
            function: ctypes._NamedFuncPointer = getattr(self._functions, name)
        except AttributeError:
            raise InvalidInput(
                f"cuDNN: the library has no function {name}; expected cuDNN 9 with its legacy API"
            ) from None
        function.restype = result  # type: ignore[assignment]
        function.argtypes = parameters  # type: ignore[assignment]
        return function
