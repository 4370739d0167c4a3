"""Whether a GPU's link runs as fast as it can, looked at before and behind each step that is timed: a link that others
share is slower at times, for milliseconds or minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch

from vdnnsim.calibration.watch import Fastest

_BYTES = 64 << 20
_SLOW = 1.01
"""A copy that takes longer than the fastest by this factor shows a slow link."""
_FIRST_LOOKS = 20
Look = Callable[[], bool]


@contextmanager
def link_looks(device: torch.device) -> Iterator[Look]:
    """A look at the device's link: whether it runs at full speed, as far as copies so far have shown that. Its memory
    is none of PyTorch's allocator's, which is counted meanwhile. The CPU has no link. Raises `DeviceRefused` where the
    host has too little memory to pin."""
    if device.type != "cuda":
        yield lambda: True
        return
    from vdnnsim.pytorch.engine_cuda import PinnedMemory, cuda_runtime  # where there is a GPU

    runtime = cuda_runtime()
    there = PinnedMemory(_BYTES, runtime)
    here = runtime.take(_BYTES)
    stream = torch.cuda.Stream(device)
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(3)]
    fastest = (Fastest(_SLOW), Fastest(_SLOW))

    def look() -> bool:
        marks[0].record(stream)
        runtime.to_host(there.pages.address, here, _BYTES, stream.cuda_stream)
        marks[1].record(stream)
        runtime.to_device(here, there.pages.address, _BYTES, stream.cuda_stream)
        marks[2].record(stream)
        stream.synchronize()
        taken_ns = [round(begin.elapsed_time(end) * 1e6) for begin, end in pairwise(marks)]
        fast = [one.is_fast(reading_ns) for one, reading_ns in zip(fastest, taken_ns, strict=True)]
        return all(fast)

    try:
        for _ in range(_FIRST_LOOKS):
            look()
        yield look
    finally:
        runtime.give_back(here)
        there.close()
