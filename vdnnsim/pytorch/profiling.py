"""Running a user's step: under the profiler with marks around it, and with a clock alone."""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from torch.profiler import profile, record_function

from vdnnsim.profiler.recording import LEAD_IN, STEP, Recorded, Recording, read_recording
from vdnnsim.pytorch.devices import CaptureDevice
from vdnnsim.pytorch.user_step import Step

_TEARDOWN = "TEARDOWN_CUPTI"
_LIGHT_TRIES = 3


class Timed(NamedTuple):
    """One step in nanoseconds: until the host was through, and until the device was; and what the host's clock
    (`perf_counter_ns`) showed when it began."""

    host_ns: int
    step_ns: int
    begun_ns: int = 0


def record_step(
    step: Step,
    device: CaptureDevice,
    known: Callable[[], Mapping[str, tuple[int, int]]],
    hooks: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Recorded:
    """Profile a step with memory, after one more that goes before it. `known` is asked between them."""
    with _exported(device, device.activities, memory=True) as read:
        # of blocks from before that die while it watches the CPU's profiler complains, past Python
        with _quiet_stderr() if device.host_runs_kernels else nullcontext(), record_function(LEAD_IN):
            step()
        device.synchronize()
        memory = device.begin(watch_sizes=True)
        try:
            there = known()
            with record_function(STEP):
                with hooks():
                    step()
                device.synchronize()
        finally:
            peaks, asked = device.end()
    return Recorded(read_recording(read(), device.profiler_type, device.profiler_index), there, memory, peaks, asked)


def record_light(step: Step, device: CaptureDevice) -> tuple[Recording, Timed]:
    """Profile a step for its times alone. Of a GPU that is done again while nothing was seen: the first such profile
    behind one that watches the host as well saw no kernel on an H200 (PyTorch 2.11), the second all of them."""
    for _ in range(_LIGHT_TRIES):
        with _exported(device, device.light_activities, memory=False) as read, record_function(STEP):
            timed = time_step(step, device)
        recording = read_recording(read(), device.profiler_type, device.profiler_index)
        if recording.gpu_work or device.host_runs_kernels:
            break
    return recording, timed


def time_step(step: Step, device: CaptureDevice) -> Timed:
    """Run a step by the host's clock, the device idle before it."""
    device.synchronize()
    begin_ns = time.perf_counter_ns()
    step()
    host_ns = time.perf_counter_ns()
    device.synchronize()
    return Timed(host_ns - begin_ns, time.perf_counter_ns() - begin_ns, begin_ns)


@contextmanager
def _exported(device: CaptureDevice, activities: Any, memory: bool) -> Iterator[Callable[[], dict[str, Any]]]:
    traces: list[dict[str, Any]] = []
    profiler = profile(activities=activities, profile_memory=memory)
    with _leaving_no_hooks():
        with _quiet_stderr():
            profiler.start()
        try:
            yield lambda: traces[0]
            device.synchronize()
        finally:
            with _quiet_stderr():
                profiler.stop()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        traces.append(json.loads(path.read_bytes()))


@contextmanager
def _leaving_no_hooks() -> Iterator[None]:
    """Have the profiler take its hooks out of CUDA when it ends, unless the user said otherwise. Left there, as is its
    default, they made the host of an H100 slower for good: 29 ms a step of ResNet-50 became 36 to 50."""
    if _TEARDOWN in os.environ:
        yield
        return
    os.environ[_TEARDOWN] = "1"
    try:
        yield
    finally:
        del os.environ[_TEARDOWN]


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Some versions of the profiler tell of each start and stop there, past Python."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def still_collector() -> Iterator[None]:
    """Without Python's collector, which would end lives at chance moments, and without what is there already: with many
    objects alive each of its rounds takes the host long."""
    enabled, frozen = gc.isenabled(), gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if not frozen:  # else the user has frozen what there was, and it stays so
            gc.unfreeze()
        if enabled:
            gc.enable()
