"""What a device must do so that the real machine can run programs on it: memory, streams, copies, clocks.

A `Device` owns one slab of device memory at a time, from which the pool's addresses count, and one arena of pinned host
memory. Its three streams are those of the program. Everything that the timed loop calls is prepared beforehand as an
`Action`, a call without arguments, so that the loop does the program's commands and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from vdnnsim.errors import InvalidInput
from vdnnsim.machines.real.host import Host
from vdnnsim.program import Stream
from vdnnsim.units import format_bytes

_SPARE_HOST_BYTES = 1 << 28
_PATIENCE_S = 10

if TYPE_CHECKING:
    import torch

    from vdnnsim.machines.real.nvml import GpuState

Action = Callable[[], object]
"""One prepared command: it puts work on a stream, or waits."""


class DeviceRefused(InvalidInput):
    """Something that the device or its host cannot give; ``args`` is (message,)."""


class Stopwatch(Protocol):
    """Begin and end of one piece of work on a stream, on the clock of `Device.now_ns`; read it after a drain."""

    def read(self) -> tuple[int, int]:
        """(begin, end) in nanoseconds."""


class Event(Protocol):
    """A point on a stream, behind all that had been put there when it was recorded last; before that, a point long
    passed. The device keeps it for as long as anything refers to it or to an action of it."""

    def record(self) -> object:
        """Put the point behind what its stream has been given so far."""

    def host_wait(self, meanwhile: Action | None = None) -> Action:
        """Prepare the host's wait for the point, as `Device.wait` for a stream."""

    def stream_wait(self, stream: Stream) -> Action:
        """Prepare a wait of another stream: what is put there afterwards begins when the point is passed, wherever it
        was recorded last when the action ran; the host goes on."""


class Device(Protocol):
    """A device with a slab of memory and three in-order streams."""

    @property
    def name(self) -> str:
        """What the device is called in messages: "cuda" or "cpu"."""

    @property
    def host(self) -> Host:
        """The processor that gives the commands."""

    @property
    def uuid(self) -> str:
        """Which GPU this is, as its maker numbers it; "" where it is none."""

    def describe(self) -> Mapping[str, str]:
        """Hardware, driver, library versions and clocks as they are now, for the headers of files."""

    def state(self) -> GpuState | None:
        """Clocks, power, temperature and company of the GPU now; None where nothing tells them."""

    @property
    def torch_device(self) -> torch.device:
        """Where tensors for inputs and references lie."""

    def free_bytes(self) -> int:
        """Device memory that a slab could take, its present one counted as free."""

    def total_bytes(self) -> int:
        """All memory of the device."""

    def make_slab(self, size_bytes: int) -> torch.Tensor:
        """The device memory that programs use, as bytes; the one before it is given back. Raises `DeviceRefused`."""

    def make_pinned(self, sizes_bytes: Sequence[int]) -> list[torch.Tensor]:
        """Host buffers for copies, as bytes, out of an arena that is pinned once, grows when it must and keeps what it
        has. Buffers of an earlier call are no longer valid. Raises `DeviceRefused` with the bytes asked for and
        available."""

    def pinning_ns(self, size_bytes: int) -> int:
        """How long pinning so much fresh host memory takes, with the first write of its pages; it is given back. Raises
        `DeviceRefused` as `make_pinned`."""

    def copy(self, stream: Stream, target: torch.Tensor, source: torch.Tensor) -> Action:
        """Prepare a copy between pinned host and device memory on a stream; both are contiguous bytes."""

    @property
    def reference_bytes(self) -> int:
        """The size of the reference copies: long enough to be timed, short enough to be repeated, about a millisecond
        on a GPU's link."""

    @property
    def largest_copy_bytes(self) -> int:
        """The largest copy whose time belongs into a profile of this device."""

    @property
    def host_programs(self) -> Sequence[tuple[str, int]]:
        """Networks and batches whose iterations show what the host's calls cost: short waits and long ones."""

    @property
    def budget_ns(self) -> int:
        """About how long one thing is repeated until its median is taken."""

    @property
    def slow_link(self) -> float:
        """A reference copy that takes more than so many times the fastest was disturbed."""

    def reference_copies(self) -> Mapping[Stream, Action]:
        """A copy in each direction between device and pinned memory of their own, which no program uses, kept until the
        device is closed. Raises `DeviceRefused`."""

    def on_compute(self, kernels: Action) -> Action:
        """Prepare work for the compute stream: `kernels` launches it."""

    def record(self, kernels: Action) -> Action:
        """One launch for all that `kernels` launches, where the device has that; `kernels` may run once here."""

    def wait(self, stream: Stream, meanwhile: Action | None = None) -> Action:
        """Prepare the host's wait for a stream. The action raises what the stream's work raised. A device whose host
        asks again and again does `meanwhile` now and then."""

    def event(self, stream: Stream) -> Event:
        """A point on this stream, to be recorded and waited for."""

    def rehearsal(self, direction: Stream) -> Action:
        """What keeps the host's paths warm during a long wait: a launch, a copy in this direction, both as small as
        they can be, and an event, on streams of their own. The first one that is asked for drains the device."""

    def timed(self, stream: Stream, action: Action) -> tuple[Action, Stopwatch]:
        """The same action between two marks on its stream."""

    def head_start(self, duration_ns: int, stream: Stream = Stream.COMPUTE) -> None:
        """Keep a stream busy for about so long, so that what is put behind it there waits, and then runs without
        gaps."""

    def poison(self, memory: torch.Tensor, stream: Stream | None = None) -> None:
        """Overwrite bytes so that every float in them is NaN: in a stream's turn, or else whatever the streams are
        doing, before this returns."""

    def now_ns(self) -> int:
        """The host's clock; stopwatches read on the same one."""

    def drain(self) -> None:
        """Wait until all streams are done. Raises what their work raised."""

    def enter(self) -> None:
        """Make the compute stream the one on which this thread's tensor operations run."""

    def close(self) -> None:
        """Give back slab, pinned memory and streams."""


def out_of_device_memory(device: str, asked_bytes: int, free_bytes: int) -> DeviceRefused:
    """The refusal of a slab, in words."""
    return DeviceRefused(
        f"device memory of {device}: found {format_bytes(free_bytes)} free, expected the {format_bytes(asked_bytes)} "
        f"({asked_bytes} bytes) of the pool; use a smaller batch or --capacity, or end what else uses the device"
    )


def out_of_pinned_memory(asked_bytes: int, available_bytes: int) -> DeviceRefused:
    """The refusal of pinned host memory, in words."""
    return DeviceRefused(
        f"pinned host memory: found {format_bytes(available_bytes)} ({available_bytes} bytes) available, expected "
        f"{format_bytes(asked_bytes)} ({asked_bytes} bytes) for the offloaded maps; use a smaller batch or a policy "
        "that offloads less"
    )


def host_has_room(size_bytes: int) -> bool:
    """Whether so much host memory can be taken, with some left. Waits some seconds where not: more memory of a virtual
    machine may be on its way."""
    for _ in range(_PATIENCE_S):
        if available_host_bytes() >= size_bytes + _SPARE_HOST_BYTES:
            return True
        time.sleep(1)
    return False


def available_host_bytes(kind: str = "MemAvailable") -> int:
    """Host memory that could be taken now (or all of it: "MemTotal"), as Linux tells it; 0 where it is not told."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith(f"{kind}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
