"""An NVIDIA GPU as a device: PyTorch for memory, streams and events, the CUDA driver for copies and waits.

What a kernel command launches is recorded once as a CUDA graph. A launch is then one call of some microseconds, and the
parts of a kernel follow each other without gaps; through its legacy interface, cuDNN spends 50 to 300 us of the
host's time on each CONV, longer than many of them run, and up to 1.5 ms on one by tiled FFT.
"""

# mypy: disable-error-code="no-untyped-call"
# PyTorch's streams, events and graphs have no type annotations.

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from functools import partial

import torch

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.cuda_driver import Action, CudaFailure, Driver, PageMemory, touch
from vdnnsim.machines.real.cudnn import Cudnn, CudnnFailure
from vdnnsim.machines.real.device import (
    available_host_bytes,
    host_has_room,
    out_of_device_memory,
    out_of_pinned_memory,
)
from vdnnsim.machines.real.host import Host
from vdnnsim.machines.real.nvml import GpuState, open_card
from vdnnsim.program import GPU_STREAMS, Stream

_POISON = 255
_GRANULE_BYTES = 4096
_PIECE_BYTES = 1 << 30


class CudaDevice:
    """See `Device`. Raises `InvalidInput` in one line where there is no usable GPU."""

    name = "cuda"
    reference_bytes = 64 << 20
    largest_copy_bytes = 1 << 30
    host_programs = (("alexnet", 128), ("vgg16", 32))
    slow_link = 1.015
    budget_ns = 1_000_000_000

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise InvalidInput(
                "device cuda: found no NVIDIA GPU that PyTorch can use, expected one with its driver; "
                "use --device cpu to try the same without one"
            )
        torch.cuda.init()
        self.host = Host()
        self.torch_device = torch.device("cuda", torch.cuda.current_device())
        self.uuid = f"GPU-{torch.cuda.get_device_properties(self.torch_device).uuid}"
        self._card = open_card(self.uuid)
        self._driver = Driver()
        self._streams = {stream: torch.cuda.Stream() for stream in GPU_STREAMS}
        self._poison_stream = torch.cuda.Stream()
        self.cudnn = Cudnn()
        self.cudnn.set_stream(self._streams[Stream.COMPUTE].cuda_stream)
        self._slab = torch.empty(0, dtype=torch.uint8, device=self.torch_device)
        self._pinned: list[PageMemory] = []
        self._reference: tuple[torch.Tensor, PageMemory, torch.Tensor] | None = None
        self._rehearsals: dict[Stream, Action] = {}
        self._sleep_cycles_per_us = 0.0
        self._zero = torch.cuda.Event(enable_timing=True)
        self._zero_ns = 0
        self._align_clocks()

    def describe(self) -> Mapping[str, str]:
        """As `Device.describe`; clocks, power and temperature are those at this moment."""
        properties = torch.cuda.get_device_properties(self.torch_device)
        driver = self._card.driver_version if self._card else "unknown"
        return {
            "gpu": f"{properties.name}, {properties.total_memory} B, {properties.multi_processor_count} SMs",
            "driver": f"{driver}; {platform.system()} {platform.release()}",
            "libraries": f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {self.cudnn.version}",
            "clocks": str(self.state() or "not readable"),
        }

    def state(self) -> GpuState | None:
        """As `Device.state`, from NVML."""
        return self._card.state() if self._card else None

    def free_bytes(self) -> int:
        """As `Device.free_bytes`."""
        return int(torch.cuda.mem_get_info()[0]) + self._slab.numel()

    def total_bytes(self) -> int:
        """As `Device.total_bytes`."""
        total_bytes: int = torch.cuda.mem_get_info()[1]
        return total_bytes

    def make_slab(self, size_bytes: int) -> torch.Tensor:
        """As `Device.make_slab`."""
        if size_bytes > self._slab.numel():
            self._slab = torch.empty(0, dtype=torch.uint8, device=self.torch_device)
            torch.cuda.empty_cache()
            free_bytes = self.free_bytes()
            try:
                self._slab = torch.empty(size_bytes, dtype=torch.uint8, device=self.torch_device)
            except torch.OutOfMemoryError:
                raise out_of_device_memory(self.name, size_bytes, free_bytes) from None
        return self._slab

    def make_pinned(self, sizes_bytes: Sequence[int]) -> list[torch.Tensor]:
        """As `Device.make_pinned`. The arena grows by pieces, so that no buffer lies across two of them."""
        pieces = [len(memory.buffer) for memory in self._pinned]
        places = _pack(sizes_bytes, pieces)
        for size_bytes in pieces[len(self._pinned) :]:
            self._pinned.append(self._pin(size_bytes, sum(sizes_bytes)))
        tensors = [torch.frombuffer(memory.buffer, dtype=torch.uint8) for memory in self._pinned]
        return [tensors[piece][start : start + size] for (piece, start), size in zip(places, sizes_bytes, strict=True)]

    def pinning_ns(self, size_bytes: int) -> int:
        """As `Device.pinning_ns`, by the calls that pin the arena."""
        self._driver.unpin(self._pin(size_bytes, size_bytes))  # looks for room, and loads what it needs
        begin_ns = self.now_ns()
        memory = self._page_locked(size_bytes, size_bytes)
        pinned_ns = self.now_ns()
        self._driver.unpin(memory)
        return pinned_ns - begin_ns

    def copy(self, stream: Stream, target: torch.Tensor, source: torch.Tensor) -> Action:
        """As `Device.copy`."""
        prepare = self._driver.copy_out if source.is_cuda else self._driver.copy_in
        return prepare(target.data_ptr(), source.data_ptr(), source.numel(), self._streams[stream].cuda_stream)

    def reference_copies(self) -> Mapping[Stream, Action]:
        """As `Device.reference_copies`."""
        if self._reference is None:
            try:
                here = torch.empty(self.reference_bytes, dtype=torch.uint8, device=self.torch_device)
            except torch.OutOfMemoryError:
                raise out_of_device_memory(self.name, self.reference_bytes, self.free_bytes()) from None
            memory = self._pin(self.reference_bytes, self.reference_bytes)
            self._reference = (here, memory, torch.frombuffer(memory.buffer, dtype=torch.uint8))
        here, _, there = self._reference
        return {
            Stream.COPY_OUT: self.copy(Stream.COPY_OUT, there, here),
            Stream.COPY_IN: self.copy(Stream.COPY_IN, here, there),
        }

    def on_compute(self, kernels: Action) -> Action:
        """As `Device.on_compute`: the calls themselves, since cuDNN and PyTorch launch into the compute stream."""
        return kernels

    def wait(self, stream: Stream, meanwhile: Action | None = None) -> Action:
        """As `Device.wait`."""
        return self._driver.synchronise(self._streams[stream].cuda_stream, meanwhile)

    def event(self, stream: Stream) -> CudaEvent:
        """As `Device.event`."""
        return CudaEvent(self._driver, self._streams, stream)

    def rehearsal(self, direction: Stream) -> Action:
        """As `Device.rehearsal`. The copy takes the engine of its direction for about a microsecond: give the direction
        in which nothing else copies."""
        if not self._rehearsals:
            self._rehearsals = self._make_rehearsals()
        return self._rehearsals[direction]

    def _make_rehearsals(self) -> dict[Stream, Action]:
        side = torch.cuda.Stream()
        here = torch.zeros(1, device=self.torch_device)
        there = torch.zeros(1).pin_memory()
        self.drain()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(side):
            here.add_(1)
            self.drain()
            graph.capture_begin(capture_error_mode="relaxed")
            here.add_(1)
            graph.capture_end()
        on, size_bytes = side.cuda_stream, here.numel() * here.element_size()
        out = self._driver.copy_out(there.data_ptr(), here.data_ptr(), size_bytes, on)
        back = self._driver.copy_in(here.data_ptr(), there.data_ptr(), size_bytes, on)
        event = self._driver.event()
        record, hold = self._driver.record(event, on), self._driver.hold(on, event)

        def rehearse(copy: Action, kept: object) -> None:  # noqa: ARG001 - what it refers to must live on
            copy()
            record()
            hold()
            with torch.cuda.stream(side):
                graph.replay()

        memory = (here, there)
        return {Stream.COPY_OUT: partial(rehearse, out, memory), Stream.COPY_IN: partial(rehearse, back, memory)}

    def record(self, kernels: Action) -> Action:
        """As `Device.record`, or `kernels` itself where something in it cannot be recorded. It runs once here, so that
        what it needs is loaded; the compute stream must be the current one."""
        kernels()
        graph = torch.cuda.CUDAGraph()
        try:
            graph.capture_begin(capture_error_mode="relaxed")
            try:
                kernels()
            finally:
                graph.capture_end()
        except (RuntimeError, CudnnFailure):
            self.drain()
            return kernels
        return partial(_replay, graph, kernels)

    def timed(self, stream: Stream, action: Action) -> tuple[Action, CudaStopwatch]:
        """As `Device.timed`."""
        stopwatch = CudaStopwatch(self)
        begin, end, on = stopwatch.begin, stopwatch.end, self._streams[stream]

        def marked() -> None:
            begin.record(on)
            action()
            end.record(on)

        return marked, stopwatch

    def head_start(self, duration_ns: int, stream: Stream = Stream.COMPUTE) -> None:
        """As `Device.head_start`."""
        if not self._sleep_cycles_per_us:
            self._sleep_cycles_per_us = self._measure_sleep()
        with torch.cuda.stream(self._streams[stream]):
            torch.cuda._sleep(round(self._sleep_cycles_per_us * duration_ns / 1000))

    def poison(self, memory: torch.Tensor, stream: Stream | None = None) -> None:
        """As `Device.poison`; at once is on a stream of its own."""
        with torch.cuda.stream(self._streams[stream] if stream else self._poison_stream):
            memory.fill_(_POISON)
        if stream is None:
            self._poison_stream.synchronize()

    def now_ns(self) -> int:
        """As `Device.now_ns`."""
        return time.perf_counter_ns()

    def on_host_clock(self, event: torch.cuda.Event) -> int:
        """When an event of the device was, on the host's clock."""
        return self._zero_ns + round(self._zero.elapsed_time(event) * 1e6)

    def drain(self) -> None:
        """As `Device.drain`."""
        torch.cuda.synchronize()

    def enter(self) -> None:
        """As `Device.enter`. Also sets both clocks side by side again, since they drift."""
        torch.cuda.set_stream(self._streams[Stream.COMPUTE])
        self._align_clocks()

    def close(self) -> None:
        """As `Device.close`."""
        torch.cuda.synchronize()
        self.cudnn.close()
        if self._card:
            self._card.close()
            self._card = None
        for memory in (*self._pinned, *(self._reference[1:2] if self._reference else ())):
            self._driver.unpin(memory)
        self._pinned = []
        self._reference = None
        self._slab = torch.empty(0, dtype=torch.uint8, device=self.torch_device)
        torch.cuda.empty_cache()

    def _pin(self, size_bytes: int, asked_bytes: int) -> PageMemory:
        """Fresh pinned memory. Raises `DeviceRefused`."""
        if not host_has_room(size_bytes):
            raise out_of_pinned_memory(asked_bytes, self._pinnable_bytes())
        return self._page_locked(size_bytes, asked_bytes)

    def _page_locked(self, size_bytes: int, asked_bytes: int) -> PageMemory:
        try:
            memory = PageMemory(size_bytes)
            touch(memory)
            self._driver.pin(memory)
        except (OSError, CudaFailure):
            raise out_of_pinned_memory(asked_bytes, self._pinnable_bytes()) from None
        return memory

    def _pinnable_bytes(self) -> int:
        return sum(len(memory.buffer) for memory in self._pinned) + available_host_bytes()

    def _align_clocks(self) -> None:
        """Record an event on an idle device and note the host's time between the call and its completion: what is known
        of the two clocks is this narrow window, the narrowest of some."""
        best_ns = 1 << 62
        for _ in range(50):
            event = torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            before_ns = time.perf_counter_ns()
            event.record(self._streams[Stream.COMPUTE])
            while not event.query():
                pass
            after_ns = time.perf_counter_ns()
            if after_ns - before_ns < best_ns:
                best_ns = after_ns - before_ns
                self._zero, self._zero_ns = event, (before_ns + after_ns) // 2

    def _measure_sleep(self) -> float:
        cycles = 1_000_000
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        with torch.cuda.stream(self._streams[Stream.COMPUTE]):
            torch.cuda._sleep(cycles)
            begin.record()
            torch.cuda._sleep(cycles)
            end.record()
        end.synchronize()
        return float(cycles / (begin.elapsed_time(end) * 1000))


def _replay(graph: torch.cuda.CUDAGraph, kept: Action) -> None:  # noqa: ARG001 - what it refers to must live on
    graph.replay()


class CudaEvent:
    """See `Event`: one of the driver's, without timing."""

    def __init__(self, driver: Driver, streams: Mapping[Stream, torch.cuda.Stream], on: Stream) -> None:
        self._driver, self._streams = driver, streams
        self._event = driver.event()
        self.record = driver.record(self._event, streams[on].cuda_stream)

    def host_wait(self, meanwhile: Action | None = None) -> Action:
        """As `Event.host_wait`."""
        return self._driver.wait_for(self._event, meanwhile)

    def stream_wait(self, stream: Stream) -> Action:
        """As `Event.stream_wait`."""
        return self._driver.hold(self._streams[stream].cuda_stream, self._event)


class CudaStopwatch:
    """See `Stopwatch`: two events of the device."""

    def __init__(self, device: CudaDevice) -> None:
        self._device = device
        self.begin = torch.cuda.Event(enable_timing=True)
        self.end = torch.cuda.Event(enable_timing=True)

    def read(self) -> tuple[int, int]:
        """As `Stopwatch.read`."""
        begin_ns = self._device.on_host_clock(self.begin)
        return begin_ns, begin_ns + round(self.begin.elapsed_time(self.end) * 1e6)


def _pack(sizes_bytes: Sequence[int], pieces: list[int]) -> list[tuple[int, int]]:
    """(piece, start) of each buffer; appends the sizes of pieces that are still missing to `pieces`."""
    used = [0] * len(pieces)
    places: list[tuple[int, int]] = [(0, 0)] * len(sizes_bytes)
    for index in sorted(range(len(sizes_bytes)), key=lambda index: -sizes_bytes[index]):
        size = -(-sizes_bytes[index] // _GRANULE_BYTES) * _GRANULE_BYTES
        piece = next((number for number, taken in enumerate(used) if taken + size <= pieces[number]), len(used))
        if piece == len(used):
            pieces.append(max(size, min(_PIECE_BYTES, sum(sizes_bytes) + _GRANULE_BYTES * len(sizes_bytes))))
            used.append(0)
        places[index] = (piece, used[piece])
        used[piece] += size
    return places
