"""What differs between a step on a GPU and one on the CPU: who counts memory, what the profiler is asked for."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Protocol

import torch
from torch.profiler import ProfilerActivity

from vdnnsim.errors import InvalidInput
from vdnnsim.profiler.recording import MemoryNow, Peaks


class CaptureDevice(Protocol):
    """A device that a step is captured on."""

    torch_device: torch.device
    name: str
    host_runs_kernels: bool
    profiler_type: int
    profiler_index: int
    activities: Sequence[ProfilerActivity]
    light_activities: Sequence[ProfilerActivity]

    def synchronize(self) -> None:
        """Wait until all that was launched is done."""

    def begin(self, watch_sizes: bool) -> MemoryNow | None:
        """Empty the cache, forget the peaks, and watch the sizes that are asked for from now on if wanted."""

    def end(self) -> tuple[Peaks | None, list[tuple[int, int]] | None]:
        """The peaks, and of every block taken since `begin` its address and size as asked for, in order; None where
        nobody counts."""

    def conditions(self) -> dict[str, str]:
        """Versions, driver and clocks, in words."""

    def notices(self) -> list[str]:
        """What happened on the device since this was made that the user should know."""


class CpuDevice:
    """The host's own memory, counted by the profiler alone; operators are the kernels."""

    host_runs_kernels = True
    profiler_type, profiler_index = 0, -1
    activities: Sequence[ProfilerActivity] = (ProfilerActivity.CPU,)
    light_activities: Sequence[ProfilerActivity] = (ProfilerActivity.CPU,)

    def __init__(self) -> None:
        self.torch_device = torch.device("cpu")
        self.name = "cpu"

    def synchronize(self) -> None:
        pass

    def begin(self, watch_sizes: bool) -> MemoryNow | None:  # noqa: ARG002 - all sizes are as asked for
        return None

    def end(self) -> tuple[Peaks | None, list[tuple[int, int]] | None]:
        return None, None

    def conditions(self) -> dict[str, str]:
        return {"threads": str(torch.get_num_threads()), "processor": platform.machine()}

    def notices(self) -> list[str]:
        return []


def check_available(asked: str) -> None:
    """Raise `InvalidInput` for a device that nothing can be captured on, or not here."""
    kind = asked.partition(":")[0]
    if kind not in ("cuda", "cpu"):
        raise InvalidInput(f"device: found '{asked}', expected cuda or cpu")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InvalidInput(f"device: found no GPU that PyTorch can use, expected one for '{asked}'; use cpu")


def open_device(asked: str | None, model: torch.nn.Module) -> CaptureDevice:
    """The device that a model is on. Raises `InvalidInput` where it is not the one asked for, or on several."""
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if asked is not None:
        check_available(asked)
    if len(devices) != 1:
        found = " and ".join(sorted(map(str, devices))) or "no parameter at all"
        raise InvalidInput(f"the model: found {found}, expected parameters and buffers on one device")
    (device,) = devices
    if asked is not None and torch.device(asked).type != device.type:
        raise InvalidInput(
            f"the model: found it on {device}, asked for was {asked}; move it, or let its maker take an argument device"
        )
    if device.type == "cpu":
        return CpuDevice()
    if device.type == "cuda":
        from vdnnsim.pytorch.cuda_device import CudaCaptureDevice

        return CudaCaptureDevice(device)
    raise InvalidInput(f"the model: found it on {device}, expected cuda or cpu")
