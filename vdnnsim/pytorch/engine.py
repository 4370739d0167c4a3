"""What moves blocks between device and host for the hooks: one small protocol, here for the CPU.

The hooks know blocks by their numbers in the captured step; each has its own part of one arena of host memory, which is
taken once. Streams are the raw handles that PyTorch gives. Nothing here waits on the host but `drain`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from vdnnsim.machines.real.cuda_driver import PageMemory, touch
from vdnnsim.machines.real.device import available_host_bytes, host_has_room, out_of_pinned_memory

if TYPE_CHECKING:
    import torch

_ALIGNED_BYTES = 256
_PIECE_BYTES = 1 << 30
_SPARE_HOST_BYTES = 1 << 28


class Engine(Protocol):
    """Copies of blocks and waits of streams for them."""

    @property
    def device(self) -> torch.device:
        """Where the blocks lie."""

    @property
    def home(self) -> int:
        """The compute stream on which everything is meant to run."""

    def here(self) -> int:
        """The stream that is the current one of this thread."""

    def copy_out(self, block: int, address: int, stream: int) -> None:
        """Copy a block at this address of the device to the host, behind what the stream has been given."""

    def let_go(self, block: int, stream: int) -> None:
        """Have the stream wait for the block's copy out."""

    def copy_in(self, block: int, address: int, stream: int) -> None:
        """Copy a block back to this address, behind what the stream has been given and behind its copy out."""

    def let_use(self, block: int, stream: int) -> None:
        """Have the stream wait for the block's copy in."""

    def drain(self) -> None:
        """Wait until no copy is under way."""

    def close(self) -> None:
        """Give everything back; nothing may be under way."""


def arena_bytes(sizes_bytes: Mapping[int, int]) -> int:
    """Host memory for blocks of these sizes, one behind the other."""
    return sum(map(_aligned, sizes_bytes.values()))


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // _ALIGNED_BYTES) * _ALIGNED_BYTES


def host_addresses(memory: PageMemory, sizes_bytes: Mapping[int, int]) -> dict[int, int]:
    """Where each block lies in the memory."""
    begins = accumulate(map(_aligned, sizes_bytes.values()), initial=memory.address)
    return dict(zip(sizes_bytes, begins, strict=False))


def host_memory(size_bytes: int, written: bool = False) -> PageMemory:
    """Host memory in whole pages. Raises `DeviceRefused` where the host has too little; what is `written` piece by
    piece takes what memory a virtual machine gets meanwhile."""
    available_bytes = available_host_bytes()
    if not written and size_bytes and available_bytes and size_bytes + _SPARE_HOST_BYTES > available_bytes:
        raise out_of_pinned_memory(size_bytes, available_bytes)
    try:
        memory = PageMemory(max(1, size_bytes))
    except OSError:
        raise out_of_pinned_memory(size_bytes, available_bytes) from None
    if written:
        for begin in range(0, memory.size_bytes, _PIECE_BYTES):
            end = min(begin + _PIECE_BYTES, memory.size_bytes)
            if not host_has_room(end - begin):
                raise out_of_pinned_memory(size_bytes, begin + available_host_bytes())
            touch(memory, begin, end)
    return memory


class CpuEngine:
    """See `Engine`: a copy is done when its call returns, so that nobody ever waits."""

    home = 0

    def __init__(self, device: torch.device, sizes_bytes: Mapping[int, int]) -> None:
        self.device = device
        self._sizes = sizes_bytes
        self._memory: PageMemory | None = host_memory(arena_bytes(sizes_bytes))
        self._addresses = host_addresses(self._memory, sizes_bytes)

    def here(self) -> int:
        """As `Engine.here`."""
        return 0

    def copy_out(self, block: int, address: int, stream: int) -> None:  # noqa: ARG002
        """As `Engine.copy_out`."""
        ctypes.memmove(self._addresses[block], address, self._sizes[block])

    def let_go(self, block: int, stream: int) -> None:
        """As `Engine.let_go`."""

    def copy_in(self, block: int, address: int, stream: int) -> None:  # noqa: ARG002
        """As `Engine.copy_in`."""
        ctypes.memmove(address, self._addresses[block], self._sizes[block])

    def let_use(self, block: int, stream: int) -> None:
        """As `Engine.let_use`."""

    def drain(self) -> None:
        """As `Engine.drain`."""

    def close(self) -> None:
        """As `Engine.close`."""
        self._memory = None
