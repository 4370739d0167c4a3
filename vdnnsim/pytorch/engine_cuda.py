"""Copies of blocks on an NVIDIA GPU: a stream for each direction, events that are made once, pinned memory taken once.

Whatever a copy must not overtake it waits for on its stream, and compute waits on its own: the host runs on. An event
may be recorded anew while waits for its last recording are under way; they keep to that one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import torch

from vdnnsim.machines.real.cuda_driver import CudaFailure, PageMemory
from vdnnsim.machines.real.device import out_of_pinned_memory
from vdnnsim.pytorch.cudart import Runtime
from vdnnsim.pytorch.engine import arena_bytes, host_addresses, host_memory


class Calls(Protocol):
    """What is called of the CUDA runtime; see `cudart.Runtime`."""

    def to_host(self, target: int, source: int, size_bytes: int, stream: int) -> None: ...
    def to_device(self, target: int, source: int, size_bytes: int, stream: int) -> None: ...
    def event(self) -> int: ...
    def destroy(self, event: int) -> None: ...
    def record(self, event: int, stream: int) -> None: ...
    def wait(self, stream: int, event: int) -> None: ...
    def synchronise(self, stream: int) -> None: ...
    def pin(self, memory: PageMemory) -> None: ...
    def unpin(self, memory: PageMemory) -> None: ...


class PinnedMemory:
    """Host memory that copies go to and from; one engine at a time. Raises `DeviceRefused` where the host has too
    little, or it cannot be pinned."""

    def __init__(self, size_bytes: int, calls: Calls) -> None:
        self._calls = calls
        self.size_bytes = size_bytes
        self.pages = host_memory(size_bytes, written=True)
        try:
            calls.pin(self.pages)
        except CudaFailure as error:
            raise out_of_pinned_memory(size_bytes, size_bytes) from error

    def close(self) -> None:
        """Give it back."""
        self._calls.unpin(self.pages)


class CudaEngine:
    """See `Engine`. `here` returns the current stream of the calling thread; `out` and `back` are the raw handles of
    the two streams for copies; `pinned` is used where it is given and large enough, and stays its owner's. Raises
    `DeviceRefused` where the host's memory cannot be pinned."""

    def __init__(
        self,
        device: torch.device,
        sizes_bytes: Mapping[int, int],
        calls: Calls,
        here: Callable[[], int],
        out: int,
        back: int,
        pinned: PinnedMemory | None = None,
    ) -> None:
        self.device = device
        self.here = here
        self.home = here()
        self._calls = calls
        self._out, self._back = out, back
        self._sizes = sizes_bytes
        asked_bytes = arena_bytes(sizes_bytes)
        lent = pinned is not None and pinned.size_bytes >= asked_bytes
        self._own = None if lent else PinnedMemory(asked_bytes, calls)
        memory = pinned if lent else self._own
        assert memory is not None
        self._addresses = host_addresses(memory.pages, sizes_bytes)
        self._closed = False
        self._events: list[int] = []
        self._newest = self._event()
        self._is_out = {block: self._event() for block in sizes_bytes}
        self._is_back = {block: self._event() for block in sizes_bytes}

    def _event(self) -> int:
        self._events.append(self._calls.event())
        return self._events[-1]

    def copy_out(self, block: int, address: int, stream: int) -> None:
        """As `Engine.copy_out`."""
        calls = self._calls
        calls.record(self._newest, stream)
        calls.wait(self._out, self._newest)
        calls.to_host(self._addresses[block], address, self._sizes[block], self._out)
        calls.record(self._is_out[block], self._out)

    def let_go(self, block: int, stream: int) -> None:
        """As `Engine.let_go`."""
        self._calls.wait(stream, self._is_out[block])

    def copy_in(self, block: int, address: int, stream: int) -> None:
        """As `Engine.copy_in`."""
        calls = self._calls
        calls.record(self._newest, stream)
        calls.wait(self._back, self._newest)
        calls.wait(self._back, self._is_out[block])
        calls.to_device(address, self._addresses[block], self._sizes[block], self._back)
        calls.record(self._is_back[block], self._back)

    def let_use(self, block: int, stream: int) -> None:
        """As `Engine.let_use`."""
        self._calls.wait(stream, self._is_back[block])

    def drain(self) -> None:
        """As `Engine.drain`."""
        self._calls.synchronise(self._out)
        self._calls.synchronise(self._back)

    def close(self) -> None:
        """As `Engine.close`."""
        if not self._closed:
            self._closed = True
            for event in self._events:
                self._calls.destroy(event)
            if self._own is not None:
                self._own.close()
                self._own = None


def cuda_runtime() -> Runtime:
    """The runtime that PyTorch has loaded. Raises `InvalidInput`."""
    return Runtime(torch.version.cuda or "")


def open_cuda_engine(
    device: torch.device, sizes_bytes: Mapping[int, int], pinned: PinnedMemory | None = None
) -> CudaEngine:
    """The engine of this GPU, which must be the current one, with two streams of PyTorch's. Raises `InvalidInput` and
    its kinds."""
    here = partial(torch._C._cuda_getCurrentRawStream, device.index)
    out, back = (torch.cuda.Stream(device).cuda_stream for _ in range(2))  # of PyTorch's pool, which keeps them
    return CudaEngine(device, sizes_bytes, cuda_runtime(), here, out, back, pinned)
