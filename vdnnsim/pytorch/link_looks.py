"""Whether a GPU's link runs as fast as it can, looked at before and behind each step that is timed: a link that others
share is slower at times, for milliseconds or minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from vdnnsim.calibration.watch import Fastest

if TYPE_CHECKING:
    from vdnnsim.pytorch.cudart import Runtime
    from vdnnsim.pytorch.engine_cuda import PinnedMemory

_BYTES = 32 << 20
_PAIRS = 3
"""Copies each way at a look, of which the quickest counts: a slow time of the link is longer than all of them. With one
copy a third of the looks were slow, beside steps that took no longer than others (two models on an H200)."""
_SLOW = 1.01
"""A copy that takes longer than the fastest by this factor shows a slow link."""
_FIRST_LOOKS = 20
Look = Callable[[], bool]


class BothWays:
    """Memory on both sides of a GPU's link, none of it PyTorch's allocator's, which is counted meanwhile."""

    def __init__(self, device: torch.device, there: PinnedMemory, here: int, runtime: Runtime) -> None:
        self.stream = torch.cuda.Stream(device)
        self._there, self._here, self._runtime = there, here, runtime

    def out(self) -> None:
        """Begin a copy to the host, of 32 MiB."""
        self._runtime.to_host(self._there.pages.address, self._here, _BYTES, self.stream.cuda_stream)

    def back(self) -> None:
        """Begin a copy to the device, behind the one before."""
        self._runtime.to_device(self._here, self._there.pages.address, _BYTES, self.stream.cuda_stream)

    def copy(self) -> None:
        """Begin one each way, one behind the other."""
        self.out()
        self.back()


@contextmanager
def both_ways(device: torch.device) -> Iterator[BothWays]:
    """Memory for copies, given back in the end. Raises `DeviceRefused` where the host has too little memory to pin."""
    from vdnnsim.pytorch.engine_cuda import PinnedMemory, cuda_runtime  # where there is a GPU

    runtime = cuda_runtime()
    there = PinnedMemory(_BYTES, runtime)
    here = runtime.take(_BYTES)
    try:
        yield BothWays(device, there, here, runtime)
    finally:
        runtime.give_back(here)
        there.close()


@contextmanager
def link_looks(device: torch.device) -> Iterator[Look]:
    """A look at the device's link: whether it runs at full speed, as far as copies so far have shown that. The CPU has
    no link. Raises `DeviceRefused` where the host has too little memory to pin."""
    if device.type != "cuda":
        yield lambda: True
        return
    with both_ways(device) as pair:
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(2 * _PAIRS + 1)]
        fastest = (Fastest(_SLOW), Fastest(_SLOW))

        def look() -> bool:
            pair.back()  # the marks are behind it, so that how long the host takes for a call shows in none
            marks[0].record(pair.stream)
            for number, mark in enumerate(marks[1:]):
                (pair.back if number % 2 else pair.out)()
                mark.record(pair.stream)
            pair.stream.synchronize()
            taken_ns = [round(begin.elapsed_time(end) * 1e6) for begin, end in pairwise(marks)]
            ways_ns = min(taken_ns[::2]), min(taken_ns[1::2])
            fast = [one.is_fast(reading_ns) for one, reading_ns in zip(fastest, ways_ns, strict=True)]
            return all(fast)

        for _ in range(_FIRST_LOOKS):
            look()
        yield look
