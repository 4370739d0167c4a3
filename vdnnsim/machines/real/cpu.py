"""The CPU as a device: host memory as the slab, one worker thread for each stream, so that copies really overlap."""

from __future__ import annotations

import mmap
import os
import platform
import time
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from threading import Event as Flag
from threading import Thread

import torch

from vdnnsim.machines.real.device import (
    Action,
    available_host_bytes,
    out_of_device_memory,
    out_of_pinned_memory,
)
from vdnnsim.machines.real.host import Host
from vdnnsim.machines.real.nvml import GpuState
from vdnnsim.program import GPU_STREAMS, Stream

_POISON = 255
"""A byte; four of them are a NaN."""


class CpuDevice:
    """See `Device`. "Pinned" buffers are ordinary memory here, and the arena is one tensor."""

    name = "cpu"
    uuid = ""
    reference_bytes = 1 << 20
    largest_copy_bytes = 16 << 20
    host_programs = (("squeezenet", 1),)
    budget_ns = 50_000_000
    slow_link = 2.0
    """Copies on a processor differ by far more than on a link."""

    def __init__(self) -> None:
        self.torch_device = torch.device("cpu")
        self.host = Host()
        self._streams = {stream: _Worker(stream.value) for stream in GPU_STREAMS}
        self._slab = torch.empty(0, dtype=torch.uint8)
        self._pinned = torch.empty(0, dtype=torch.uint8)

    def describe(self) -> Mapping[str, str]:
        """As `Device.describe`."""
        return {
            "gpu": f"none: the kernels ran on the CPU ({_processor()}, {os.cpu_count()} logical cores)",
            "driver": f"none; {platform.system()} {platform.release()}",
            "libraries": f"PyTorch {torch.__version__}",
            "clocks": "not read",
        }

    def state(self) -> GpuState | None:
        """As `Device.state`."""
        return None

    def free_bytes(self) -> int:
        """As `Device.free_bytes`."""
        return available_host_bytes() + self._slab.numel()

    def total_bytes(self) -> int:
        """As `Device.total_bytes`."""
        return available_host_bytes("MemTotal")

    def make_slab(self, size_bytes: int) -> torch.Tensor:
        """As `Device.make_slab`."""
        if size_bytes > self._slab.numel():
            if size_bytes > self.free_bytes():
                raise out_of_device_memory(self.name, size_bytes, self.free_bytes())
            self._slab = torch.empty(0, dtype=torch.uint8)
            self._slab = torch.empty(size_bytes, dtype=torch.uint8)
        return self._slab

    def make_pinned(self, sizes_bytes: Sequence[int]) -> list[torch.Tensor]:
        """As `Device.make_pinned`."""
        needed = sum(sizes_bytes)
        if needed > self._pinned.numel():
            available = available_host_bytes() + self._pinned.numel()
            if needed > available:
                raise out_of_pinned_memory(needed, available)
            self._pinned = torch.empty(needed, dtype=torch.uint8)
        return list(torch.split(self._pinned[:needed], list(sizes_bytes)))

    def pinning_ns(self, size_bytes: int) -> int:
        """As `Device.pinning_ns`: the first write of its pages alone."""
        if size_bytes > available_host_bytes():
            raise out_of_pinned_memory(size_bytes, available_host_bytes())
        begin_ns = self.now_ns()
        pages = mmap.mmap(-1, size_bytes)  # what an allocator holds is written already
        torch.frombuffer(pages, dtype=torch.uint8).fill_(0)
        return self.now_ns() - begin_ns

    def copy(self, stream: Stream, target: torch.Tensor, source: torch.Tensor) -> Action:
        """As `Device.copy`."""
        return self._put(stream, lambda: target.copy_(source))

    def reference_copies(self) -> Mapping[Stream, Action]:
        """As `Device.reference_copies`."""
        here, there = (torch.zeros(self.reference_bytes, dtype=torch.uint8) for _ in range(2))
        return {
            Stream.COPY_OUT: self.copy(Stream.COPY_OUT, there, here),
            Stream.COPY_IN: self.copy(Stream.COPY_IN, here, there),
        }

    def on_compute(self, kernels: Action) -> Action:
        """As `Device.on_compute`."""
        return self._put(Stream.COMPUTE, kernels)

    def record(self, kernels: Action) -> Action:
        """As `Device.record`: nothing is recorded here."""
        return kernels

    def wait(self, stream: Stream, meanwhile: Action | None = None) -> Action:  # noqa: ARG002 - this host sleeps
        """As `Device.wait`."""
        return self._streams[stream].wait

    def event(self, stream: Stream) -> CpuEvent:
        """As `Device.event`."""
        return CpuEvent(self._streams, stream)

    def rehearsal(self, direction: Stream) -> Action:  # noqa: ARG002
        """As `Device.rehearsal`: nothing, since the workers have the work."""
        return _nothing

    def timed(self, stream: Stream, action: Action) -> tuple[Action, CpuStopwatch]:
        """As `Device.timed`."""
        stopwatch = CpuStopwatch()
        put = self._streams[stream].put

        def marked() -> None:
            put(stopwatch.begin)
            action()
            put(stopwatch.end)

        return marked, stopwatch

    def head_start(self, duration_ns: int, stream: Stream = Stream.COMPUTE) -> None:
        """As `Device.head_start`."""
        self._streams[stream].put(lambda: time.sleep(duration_ns / 1e9))

    def poison(self, memory: torch.Tensor, stream: Stream | None = None) -> None:
        """As `Device.poison`."""
        if stream is None:
            memory.fill_(_POISON)
        else:
            self._put(stream, lambda: memory.fill_(_POISON))()

    def now_ns(self) -> int:
        """As `Device.now_ns`."""
        return time.perf_counter_ns()

    def drain(self) -> None:
        """As `Device.drain`."""
        for worker in self._streams.values():
            worker.wait()

    def enter(self) -> None:
        """As `Device.enter`; the workers are the streams here."""

    def close(self) -> None:
        """As `Device.close`."""
        for worker in self._streams.values():
            worker.end()
        self._slab = self._pinned = torch.empty(0, dtype=torch.uint8)

    def _put(self, stream: Stream, work: Action) -> Action:
        put = self._streams[stream].put
        return lambda: put(work)


class CpuEvent:
    """See `Event`: a flag that the stream's worker raises, a new one each time."""

    def __init__(self, streams: Mapping[Stream, _Worker], on: Stream) -> None:
        self._streams = streams
        self._on = streams[on]
        self._passed = Flag()
        self._passed.set()

    def record(self) -> None:
        """As `Event.record`."""
        self._passed = self._on.mark()

    def host_wait(self, meanwhile: Action | None = None) -> Action:  # noqa: ARG002 - this host sleeps
        """As `Event.host_wait`; an error of the stream's work is told as by `Device.wait`."""
        return lambda: self._on.wait_for(self._passed)

    def stream_wait(self, stream: Stream) -> Action:
        """As `Event.stream_wait`."""
        put = self._streams[stream].put
        return lambda: put(self._passed.wait)


class CpuStopwatch:
    """See `Stopwatch`."""

    def __init__(self) -> None:
        self._begin_ns = 0
        self._end_ns = 0

    def begin(self) -> None:
        """The work begins now."""
        self._begin_ns = time.perf_counter_ns()

    def end(self) -> None:
        """The work has ended."""
        self._end_ns = time.perf_counter_ns()

    def read(self) -> tuple[int, int]:
        """As `Stopwatch.read`."""
        return self._begin_ns, self._end_ns


class _Worker:
    """A thread that works a queue off in order. After an error it skips what follows until the next wait tells it."""

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[Action | None] = SimpleQueue()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, work: Action) -> None:
        self._queue.put(work)

    def mark(self) -> Flag:
        """A flag that is raised when all that was put here so far is done, or skipped."""
        reached = Flag()
        self._queue.put(reached.set)
        return reached

    def wait(self) -> None:
        self.wait_for(self.mark())

    def wait_for(self, reached: Flag) -> None:
        reached.wait()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def end(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            is_mark = getattr(work, "__self__", None).__class__ is Flag
            if self._error is not None and not is_mark:
                continue
            try:
                work()
            except BaseException as error:  # told to whoever waits for the stream
                self._error = error


def _nothing() -> None:
    """The rehearsal of a host that does not need one."""


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"
