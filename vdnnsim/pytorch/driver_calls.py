"""The calls of the CUDA driver that hooks make, through ctypes: PyTorch's streams, events and copies take several times
as long, and the runtime's calls longer as well. Unlike these the driver's do not make the device's context the thread's
where it is not yet: autograd has a thread of its own, so every thread is bound at its first call."""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.cuda_driver import CudaFailure

if TYPE_CHECKING:
    from vdnnsim.machines.real.cuda_driver import PageMemory

    _Function = ctypes._NamedFuncPointer

_PORTABLE = 1
_WITHOUT_TIMING = 2


class DriverCalls:
    """libcuda in the context that PyTorch made current in this thread. Raises `InvalidInput` without a driver, or where
    there is no context yet. Streams are raw handles, events what `event` returns; each call raises `CudaFailure`."""

    def __init__(self) -> None:
        name = "libcuda.so.1"
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise InvalidInput(f"{name}: {error}; expected NVIDIA's driver") from None
        handle, address, size = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t
        self._to_host = self._bound("cuMemcpyDtoHAsync_v2", handle, address, size, handle)
        self._to_device = self._bound("cuMemcpyHtoDAsync_v2", address, handle, size, handle)
        self._record = self._bound("cuEventRecord", handle, handle)
        self._wait = self._bound("cuStreamWaitEvent", handle, handle, ctypes.c_uint)
        self._create = self._bound("cuEventCreate", handle, ctypes.c_uint)
        self._destroy = self._bound("cuEventDestroy_v2", handle)
        self._synchronise = self._bound("cuStreamSynchronize", handle)
        self._register = self._bound("cuMemHostRegister_v2", handle, size, ctypes.c_uint)
        self._unregister = self._bound("cuMemHostUnregister", handle)
        self._make_current = self._bound("cuCtxSetCurrent", handle)
        context = ctypes.c_void_p()
        if self._library.cuCtxGetCurrent(ctypes.byref(context)) or not context.value:
            raise InvalidInput("CUDA: found no context in this thread, expected PyTorch's: use the GPU first")
        self._context = context.value
        self._thread = threading.local()

    def enter(self) -> None:
        """Make the context this thread's, if it is not known to be."""
        if not hasattr(self._thread, "entered"):
            if code := self._make_current(self._context):
                raise self._failure("cuCtxSetCurrent", code)
            self._thread.entered = True

    def to_host(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Begin a copy to pinned memory."""
        if code := self._to_host(target, source, size_bytes, stream):
            raise self._failure("cuMemcpyDtoHAsync", code)

    def to_device(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Begin a copy from pinned memory."""
        if code := self._to_device(target, source, size_bytes, stream):
            raise self._failure("cuMemcpyHtoDAsync", code)

    def event(self) -> int:
        """A new event, without a time."""
        handle = ctypes.c_void_p()
        if code := self._create(ctypes.byref(handle), _WITHOUT_TIMING):
            raise self._failure("cuEventCreate", code)
        return handle.value or 0

    def destroy(self, event: int) -> None:
        """Give an event back."""
        self._destroy(event)

    def record(self, event: int, stream: int) -> None:
        """Put the event behind what the stream has been given."""
        if code := self._record(event, stream):
            raise self._failure("cuEventRecord", code)

    def wait(self, stream: int, event: int) -> None:
        """Have the stream wait for the event as it was recorded last."""
        if code := self._wait(stream, event, 0):
            raise self._failure("cuStreamWaitEvent", code)

    def synchronise(self, stream: int) -> None:
        """The host waits for the stream."""
        if code := self._synchronise(stream):
            raise self._failure("cuStreamSynchronize", code)

    def pin(self, memory: PageMemory) -> None:
        """Page-lock host memory."""
        if code := self._register(memory.address, memory.size_bytes, _PORTABLE):
            raise self._failure("cuMemHostRegister", code)

    def unpin(self, memory: PageMemory) -> None:
        """Give page-locked memory back to paging."""
        self._unregister(memory.address)

    def _bound(self, name: str, *kinds: type) -> _Function:
        function: _Function = self._library[name]
        function.argtypes = kinds
        return function

    def _failure(self, function: str, code: int) -> CudaFailure:
        text = ctypes.c_char_p()
        self._library.cuGetErrorString(code, ctypes.byref(text))
        return CudaFailure(function, code, (text.value or b"unknown error").decode())
