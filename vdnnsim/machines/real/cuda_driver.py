"""The few calls of the CUDA driver that the timed loop makes, prepared through ctypes: a copy costs two microseconds
this way, a third of what PyTorch's tensor operations take. Also what pinning memory needs.

A wait asks the driver again and again whether the stream, or an event on it, is done. Inside the driver's own wait a
virtual machine's processor was seen to come back cold: the calls after a wait of some milliseconds then took 5 to 20
times as long. On a host that others share, asking alone does not keep it warm: each path of code that is not used for a
millisecond or more is slow once, a launch up to 85 us instead of 7. So a long wait rehearses what comes after it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from vdnnsim.errors import VdnnsimError

if TYPE_CHECKING:
    _Function = ctypes._NamedFuncPointer

Action = Callable[[], object]
_PORTABLE = 1
_NOT_READY = 600
_WITHOUT_TIMING = 2
_REHEARSE_EVERY_NS = 250_000
"""Paths were seen to stay warm for about a millisecond."""


class CudaFailure(VdnnsimError):  # noqa: N818 - reads as what it is
    """A call of the CUDA driver that failed; ``args`` is (function, code, message)."""

    def __str__(self) -> str:
        function, code, message = self.args
        return f"{function}: {message} (error {code})"


class Driver:
    """libcuda, bound to the context that PyTorch made current in this thread. Raises `OSError` without a driver."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        pointer, address = ctypes.c_void_p, ctypes.c_uint64
        self._host_to_device = self._bind("cuMemcpyHtoDAsync_v2", address, pointer, ctypes.c_size_t, pointer)
        self._device_to_host = self._bind("cuMemcpyDtoHAsync_v2", pointer, address, ctypes.c_size_t, pointer)
        self._stream_query = self._bind("cuStreamQuery", pointer)
        self._stream_wait = self._bind("cuStreamWaitEvent", pointer, pointer, ctypes.c_uint)
        self._event_record = self._bind("cuEventRecord", pointer, pointer)
        self._event_query = self._bind("cuEventQuery", pointer)

    def copy_in(self, target: int, source: int, size_bytes: int, stream: int) -> Action:
        """Prepare a copy from pinned host memory to the device."""
        return self._prepared(self._host_to_device, target, source, size_bytes, stream)

    def copy_out(self, target: int, source: int, size_bytes: int, stream: int) -> Action:
        """Prepare a copy from the device to pinned host memory."""
        return self._prepared(self._device_to_host, target, source, size_bytes, stream)

    def synchronise(self, stream: int, meanwhile: Action | None = None) -> Action:
        """Prepare the wait for a stream, which does `meanwhile` every now and then, if it is long."""
        return self._asking(self._stream_query, ctypes.c_void_p(stream), meanwhile)

    def event(self) -> DriverEvent:
        """An event that notes no time. Raises `CudaFailure`."""
        handle = ctypes.c_void_p()
        code = self._library.cuEventCreate(ctypes.byref(handle), _WITHOUT_TIMING)
        if code:
            raise self._failure("cuEventCreate", code)
        return DriverEvent(handle, self._library.cuEventDestroy_v2)

    def record(self, event: DriverEvent, stream: int) -> Action:
        """Prepare putting the event behind what the stream has been given."""
        return self._prepared(self._event_record, event, stream)

    def hold(self, stream: int, event: DriverEvent) -> Action:
        """Prepare the stream's wait for the event."""
        return self._prepared(self._stream_wait, stream, event, 0)

    def wait_for(self, event: DriverEvent, meanwhile: Action | None = None) -> Action:
        """Prepare the host's wait for the event, as `synchronise`."""
        return self._asking(self._event_query, event, meanwhile)

    def _asking(self, query: _Function, of: object, meanwhile: Action | None) -> Action:
        now_ns = time.perf_counter_ns

        def wait() -> None:
            code = query(of)
            if code == _NOT_READY and meanwhile is not None:
                due_ns = now_ns() + _REHEARSE_EVERY_NS
                while code == _NOT_READY:
                    if now_ns() > due_ns:
                        meanwhile()
                        due_ns = now_ns() + _REHEARSE_EVERY_NS
                    code = query(of)
            while code == _NOT_READY:
                code = query(of)
            if code:
                raise self._failure(query.__name__, code)

        return wait

    def pin(self, memory: PageMemory) -> None:
        """Page-lock host memory. Raises `CudaFailure`."""
        code = self._library.cuMemHostRegister_v2(
            ctypes.c_void_p(memory.address), ctypes.c_size_t(memory.size_bytes), _PORTABLE
        )
        if code:
            raise self._failure("cuMemHostRegister", code)

    def unpin(self, memory: PageMemory) -> None:
        """Give page-locked memory back to paging."""
        self._library.cuMemHostUnregister(ctypes.c_void_p(memory.address))

    def _bind(self, name: str, *kinds: type) -> _Function:
        function: _Function = self._library[name]
        function.argtypes = kinds
        return function

    def _prepared(self, function: _Function, *arguments: object) -> Action:
        def call() -> None:
            code = function(*arguments)
            if code:
                raise self._failure(function.__name__, code)

        return call

    def _failure(self, function: str, code: int) -> CudaFailure:
        text = ctypes.c_char_p()
        self._library.cuGetErrorString(code, ctypes.byref(text))
        return CudaFailure(function, code, (text.value or b"unknown error").decode())


class DriverEvent:
    """An event of the driver, as its functions take it; given back when nothing refers to it any more."""

    def __init__(self, handle: ctypes.c_void_p, give_back: Callable[[ctypes.c_void_p], object]) -> None:
        self._as_parameter_ = handle
        weakref.finalize(self, give_back, handle).atexit = False  # the process's end frees it, and all it lies in


class PageMemory:
    """Anonymous host memory in whole pages, touched as it is filled. Raises `OSError` where there is none."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map: mmap.mmap | None = mmap.mmap(-1, self.size_bytes)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._first = ctypes.c_char.from_buffer(self._map)
        self.address = ctypes.addressof(self._first)

    @property
    def buffer(self) -> mmap.mmap:
        """The memory as Python sees it."""
        if self._map is None:
            raise ValueError("the memory was given back")
        return self._map


def touch(memory: PageMemory, begin: int = 0, end: int | None = None) -> None:
    """Write every page, or those of a part, from several threads: the first write is what takes the time in pinning."""
    end = memory.size_bytes if end is None else end
    threads = min(8, os.cpu_count() or 1)
    part_bytes = -(-(end - begin) // threads)

    def write(start: int) -> None:
        ctypes.memset(memory.address + start, 0, min(part_bytes, end - start))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(write, range(begin, end, part_bytes)))
