"""The most memory that a step takes, as whoever counts it there says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from vdnnsim.profiler.recording import STEP
from vdnnsim.pytorch.devices import CpuDevice
from vdnnsim.pytorch.profiling import record_step
from vdnnsim.pytorch.user_step import Step


def profiled_rise_bytes(step: Step, hooks: Callable[[], AbstractContextManager[object]] = nullcontext) -> int:
    """How far the bytes in use rise above those at a step's begin, by the CPU's profiler; a step goes before. The
    step runs within `hooks()`."""
    return record_step(step, CpuDevice(), dict, hooks).recording.rise_bytes(STEP)
