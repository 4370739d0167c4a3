"""The CUDA side of a capture: the caching allocator's counters, its history with the sizes as asked for, its segments.

The history (`torch.cuda.memory`) tells the size that was asked for; the profiler's events tell when, on the clock of
operators and launches, and round sizes to 512 bytes. Both come in one order with the same addresses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from vdnnsim.captured.memory import DEFAULT_ALLOCATOR, unmodelled_options
from vdnnsim.captured.step import AllocatorSegment
from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.nvml import open_card
from vdnnsim.profiler.recording import MemoryNow, Peaks

_CUDA = 1
"""The profiler's number of CUDA among kinds of devices."""
_NATIVE = "native"
_IN_USE = "active_allocated"


class CudaCaptureDevice:
    """One GPU of this host. Raises `InvalidInput` where not PyTorch's own allocator is at work."""

    host_runs_kernels = False
    profiler_type = _CUDA
    activities: Sequence[ProfilerActivity] = (ProfilerActivity.CPU, ProfilerActivity.CUDA)
    light_activities: Sequence[ProfilerActivity] = (ProfilerActivity.CUDA,)

    def __init__(self, device: torch.device) -> None:
        if (backend := torch.cuda.get_allocator_backend()) != _NATIVE:
            raise InvalidInput(f"PyTorch's allocator: found {backend}, expected {_NATIVE}: others keep no history")
        index = torch.cuda.current_device() if device.index is None else device.index
        self.torch_device = torch.device("cuda", index)
        self.profiler_index = index
        self.name = torch.cuda.get_device_name(index)
        self._ran_short_before = _ran_short(self.torch_device)

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.torch_device)

    def begin(self, watch_sizes: bool) -> MemoryNow | None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.torch_device)
        now = memory_now(torch.cuda.memory._snapshot(), self.profiler_index)
        if watch_sizes:
            torch.cuda.memory._record_memory_history("all", context=None)
        return now

    def end(self) -> tuple[Peaks | None, list[tuple[int, int]] | None]:
        snapshot = torch.cuda.memory._snapshot()
        torch.cuda.memory._record_memory_history(None)
        counted = torch.cuda.memory_stats(self.torch_device)
        peaks = Peaks(*(counted[f"{what}_bytes.all.peak"] for what in ("requested", "allocated", "reserved")))
        return peaks, taken_of(snapshot, self.profiler_index)

    def conditions(self) -> dict[str, str]:
        properties = torch.cuda.get_device_properties(self.torch_device)
        card = open_card(f"GPU-{properties.uuid}")
        found = {
            "gpu": f"{properties.name}, {properties.total_memory} B, {properties.multi_processor_count} SMs",
            "driver": card.driver_version if card else "unknown",
            "libraries": f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
            "clocks": str(card.state() if card else "not readable"),
            "allocator": _options() or DEFAULT_ALLOCATOR,
        }
        if card:
            card.close()
        return found

    def notices(self) -> list[str]:
        found = [unmodelled] if (unmodelled := unmodelled_options(_options())) else []
        short = sum(_ran_short(self.torch_device)) - sum(self._ran_short_before)
        if not short:
            return found
        return [
            *found,
            f"memory ran short {short} times while capturing: cuDNN may have chosen slower plans, which it keeps as "
            "long as the process lives; capture with more memory, or in a new process",
        ]


def _options() -> str:
    """The allocator's, as the environment has them; since PyTorch 2.9 the name is the shorter one."""
    return os.environ.get("PYTORCH_ALLOC_CONF", "") or os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "")


def _ran_short(device: torch.device) -> tuple[int, int]:
    """How often the allocator gave its cache back and asked again, and how often it found no room."""
    counted = torch.cuda.memory_stats(device)
    return counted.get("num_alloc_retries", 0), counted.get("num_ooms", 0)


def memory_now(snapshot: Mapping[str, Any], device: int) -> MemoryNow:
    """Blocks and segments of one device in a snapshot of the allocator."""
    segments = [one for one in snapshot["segments"] if one["device"] == device]
    blocks = {
        block["address"]: (block["requested_size"], block["size"])
        for segment in segments
        for block in segment["blocks"]
        if block["state"] == _IN_USE
    }
    found = (AllocatorSegment(one["address"], one["total_size"], one["segment_type"] == "small") for one in segments)
    return MemoryNow(blocks, tuple(sorted(found)))


def taken_of(snapshot: Mapping[str, Any], device: int) -> list[tuple[int, int]]:
    """Of each block taken while the history was kept, in order, its address and the size asked for."""
    return [(one["addr"], one["size"]) for one in snapshot["device_traces"][device] if one["action"] == "alloc"]
