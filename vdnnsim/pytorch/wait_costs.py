"""What waiting for the device costs the host: behind a long wait, and for each copy that torch waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import torch

from vdnnsim.calibration.samples import Sample, sample
from vdnnsim.captured import CapturedStep, SavedTensor, UnpinnedCopy
from vdnnsim.machines.real.cuda_driver import CudaFailure
from vdnnsim.machines.real.device import DeviceRefused
from vdnnsim.pytorch.link_looks import both_ways

_LONG_NS = 100_000_000
_REPETITIONS = 7
_SMALL_BYTES = 4096
_EVERY = 4
_SIZES = 3
"""So many of the step's sizes of tensors that are not in a row are copied, from the least to the largest."""
_MOST_BYTES = 64 << 20
"""Larger ones are taken to be as quick."""
Wait = Callable[[], int]


@contextmanager
def long_waits(device: torch.device) -> Iterator[Wait]:
    """Has the host wait for the device, a tenth of a second, as it does at the end of a step whose copies the link is
    still busy with; returns how much later than it was so the host knew that it was over, in nanoseconds. Nobody waits
    for the CPU, nor where there is no memory for copies."""
    with ExitStack() as stack:
        try:
            pair = stack.enter_context(both_ways(device)) if device.type == "cuda" else None
        except (DeviceRefused, CudaFailure):
            pair = None
        if pair is None:
            yield lambda: 0
            return
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        pair.copy()
        begin_ns = time.perf_counter_ns()
        pair.copy()
        torch.cuda.synchronize(device)
        pairs = max(1, _LONG_NS // max(1, time.perf_counter_ns() - begin_ns))

        def wait() -> int:
            torch.cuda.synchronize(device)
            begin_ns = time.perf_counter_ns()
            begin.record(pair.stream)
            for _ in range(pairs):
                pair.copy()
            end.record(pair.stream)
            torch.cuda.synchronize(device)
            return max(0, time.perf_counter_ns() - begin_ns - round(begin.elapsed_time(end) * 1e6))

        yield wait


def measure_waited_copy(run: Callable[[], object], device: torch.device) -> int:
    """What a copy out costs for which the host stands, by torch's `copy_` to memory pinned anew, beyond the copy:
    in nanoseconds, the median over some of few bytes amid steps that `run` makes, at every few of their saves, on a
    stream that has nothing else to do."""
    small = torch.empty(_SMALL_BYTES, dtype=torch.uint8, device=device)
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None
    taken_ns: list[int] = []
    saves = count()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if next(saves) % _EVERY == 0:
            with torch.cuda.stream(stream):
                taken_ns.append(_copy_ns(small, unpinned=False))
        return tensor.detach()

    for _ in range(2):
        taken_ns.clear()  # the first step's are of a host that never made one
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            run()
    return sample(taken_ns).median_ns


def measure_unpinned(step: CapturedStep, device: torch.device) -> tuple[UnpinnedCopy, ...]:
    """How much longer the host stands for copies of this step's saved tensors that have gaps, and dimensions in another
    order than their bytes, into memory that keeps this order. Nothing where the device has no room for one."""
    found = {one.size_bytes: one for one in step.saved if _goes_unpinned(one)}
    sizes = sorted(size for size in found if size <= _MOST_BYTES)
    some = {sizes[place * (len(sizes) - 1) // (_SIZES - 1)] for place in range(_SIZES)} if sizes else set()
    try:
        return tuple(_unpinned(found[size], device) for size in sorted(some))
    except torch.cuda.OutOfMemoryError:
        return ()


def _goes_unpinned(saved: SavedTensor) -> bool:
    return not saved.stays and not saved.without_gaps and not saved.in_order


def _unpinned(saved: SavedTensor, device: torch.device) -> UnpinnedCopy:
    dtype: torch.dtype = getattr(torch, saved.dtype)
    gaps = torch.empty_strided(saved.shape, saved.stride, dtype=dtype, device=device)
    turned, in_a_row = (_copies(one, unpinned=True) for one in (gaps, gaps.contiguous()))
    return UnpinnedCopy(saved.size_bytes, max(0, turned.median_ns - in_a_row.median_ns), turned.spread_ppm)


def _copies(tensor: torch.Tensor, unpinned: bool) -> Sample:
    """How long the host stands for some copies of a tensor."""
    _copy_ns(tensor, unpinned)
    return sample(_copy_ns(tensor, unpinned) for _ in range(_REPETITIONS))


def _copy_ns(tensor: torch.Tensor, unpinned: bool) -> int:
    """How long the host stands for a copy of a tensor, as saved-tensor hooks of others make it: torchtune's, which
    keeps the order of its bytes, or torch's own, which puts them in a row."""
    pinned = tensor.device.type == "cuda"
    begin_ns = time.perf_counter_ns()
    if unpinned:
        there = torch.empty_like(tensor, device="cpu", pin_memory=pinned)
    else:
        there = torch.empty(tensor.size(), dtype=tensor.dtype, pin_memory=pinned)
    there.copy_(tensor, non_blocking=unpinned)
    if unpinned and pinned:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter_ns() - begin_ns
