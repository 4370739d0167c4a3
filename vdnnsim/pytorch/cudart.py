"""The calls of the CUDA runtime that hooks make, through ctypes: some microseconds each, where PyTorch's streams,
events and copies take several times as long. The runtime makes the device's context the thread's where it is not yet,
which the driver's own calls do not: autograd has a thread of its own."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.cuda_driver import CudaFailure

if TYPE_CHECKING:
    from vdnnsim.machines.real.cuda_driver import PageMemory

    _Function = ctypes._NamedFuncPointer

_TO_DEVICE, _TO_HOST = 1, 2
_PORTABLE = 1
_WITHOUT_TIMING = 2


class Runtime:
    """libcudart of this version, such as "13.0" or "12.8": the one that PyTorch has loaded. Raises `InvalidInput` where
    there is none. Streams are raw handles, events what `event` returns; each call raises `CudaFailure`."""

    def __init__(self, version: str) -> None:
        major = int(version.partition(".")[0])
        name = f"libcudart.so.{'11.0' if major == 11 else major}"
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise InvalidInput(f"{name}: {error}; expected the CUDA runtime that PyTorch came with") from None
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._memcpy = self._bind("cudaMemcpyAsync", pointer, pointer, size, ctypes.c_int, pointer)
        self._record = self._bind("cudaEventRecord", pointer, pointer)
        self._wait = self._bind("cudaStreamWaitEvent", pointer, pointer, ctypes.c_uint)
        self._create = self._bind("cudaEventCreateWithFlags", pointer, ctypes.c_uint)
        self._destroy = self._bind("cudaEventDestroy", pointer)
        self._synchronise = self._bind("cudaStreamSynchronize", pointer)
        self._take = self._bind("cudaMalloc", pointer, size)
        self._give_back = self._bind("cudaFree", pointer)
        self._register = self._bind("cudaHostRegister", pointer, size, ctypes.c_uint)
        self._unregister = self._bind("cudaHostUnregister", pointer)
        self._library.cudaGetErrorString.restype = ctypes.c_char_p

    def to_host(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Begin a copy to pinned memory."""
        if code := self._memcpy(target, source, size_bytes, _TO_HOST, stream):
            raise self._failure("cudaMemcpyAsync", code)

    def to_device(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Begin a copy from pinned memory."""
        if code := self._memcpy(target, source, size_bytes, _TO_DEVICE, stream):
            raise self._failure("cudaMemcpyAsync", code)

    def event(self) -> int:
        """A new event, without a time."""
        handle = ctypes.c_void_p()
        if code := self._create(ctypes.byref(handle), _WITHOUT_TIMING):
            raise self._failure("cudaEventCreateWithFlags", code)
        return handle.value or 0

    def destroy(self, event: int) -> None:
        """Give an event back."""
        self._destroy(event)

    def record(self, event: int, stream: int) -> None:
        """Put the event behind what the stream has been given."""
        if code := self._record(event, stream):
            raise self._failure("cudaEventRecord", code)

    def wait(self, stream: int, event: int) -> None:
        """Have the stream wait for the event as it was recorded last."""
        if code := self._wait(stream, event, 0):
            raise self._failure("cudaStreamWaitEvent", code)

    def synchronise(self, stream: int) -> None:
        """The host waits for the stream."""
        if code := self._synchronise(stream):
            raise self._failure("cudaStreamSynchronize", code)

    def take(self, size_bytes: int) -> int:
        """The address of memory of the device that no allocator of PyTorch's knows."""
        address = ctypes.c_void_p()
        if code := self._take(ctypes.byref(address), size_bytes):
            raise self._failure("cudaMalloc", code)
        return address.value or 0

    def give_back(self, address: int) -> None:
        """Give such memory back."""
        self._give_back(address)

    def pin(self, memory: PageMemory) -> None:
        """Page-lock host memory."""
        if code := self._register(memory.address, memory.size_bytes, _PORTABLE):
            raise self._failure("cudaHostRegister", code)

    def unpin(self, memory: PageMemory) -> None:
        """Give page-locked memory back to paging."""
        self._unregister(memory.address)

    def _bind(self, name: str, *kinds: type) -> _Function:
        function: _Function = self._library[name]
        function.argtypes = kinds
        return function

    def _failure(self, function: str, code: int) -> CudaFailure:
        self._library.cudaGetLastError()  # or the next launch would find it
        return CudaFailure(function, code, (self._library.cudaGetErrorString(code) or b"unknown error").decode())
