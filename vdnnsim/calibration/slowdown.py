"""By how much a copy is slowed by a kernel that runs beside it: the same copies alone, and under repeated launches."""

from __future__ import annotations

import math
from statistics import median

import torch

from vdnnsim.machines.real.device import Action, Device
from vdnnsim.program import Stream
from vdnnsim.units import PPM

_DIRECTIONS = (Stream.COPY_OUT, Stream.COPY_IN)
_LONGEST_CHAIN = 40
_MOST_LAUNCHES = 1500
_SHORT_KERNEL_NS = 4_000_000
_LEAST_SHARE = 0.3


class CopySlowdowns:
    """Measures with copies of one piece of memory, chained so that they last about as long as the kernel does.

    `memory` is device memory that no program uses.
    """

    def __init__(self, device: Device, memory: torch.Tensor) -> None:
        self._device = device
        host = device.make_pinned([memory.numel()])[0]
        self._copies: dict[Stream, Action] = {
            Stream.COPY_OUT: device.copy(Stream.COPY_OUT, host, memory),
            Stream.COPY_IN: device.copy(Stream.COPY_IN, memory, host),
        }
        self._alone_ns: dict[tuple[Stream, int], int] = {}
        for stream in _DIRECTIONS:
            self._chain_ns(stream, 4, None, 0)  # wakes an idle link

    def measure(self, kernel: Action, duration_ns: int, launch_ns: int) -> tuple[int, int]:
        """(copy out, copy in) slowdown in millionths beside a kernel that takes `duration_ns` and whose launch costs
        the host `launch_ns`. Where launches come slower than the kernel runs, the copies see it only a share of the
        time, and the slowdown is scaled up to the whole; below a third, it counts as none."""
        share = min(1.0, duration_ns / max(1, launch_ns))
        out_ppm, in_ppm = (self._slowdown(stream, kernel, duration_ns, share) for stream in _DIRECTIONS)
        return out_ppm, in_ppm

    def _slowdown(self, stream: Stream, kernel: Action, duration_ns: int, share: float) -> int:
        if share < _LEAST_SHARE:
            return PPM
        piece_ns = self._alone(stream, 1)
        chain = max(1, min(_LONGEST_CHAIN, round(duration_ns / piece_ns)))
        alone_ns = self._alone(stream, chain)
        launches = min(_MOST_LAUNCHES, math.ceil(1.4 * alone_ns / max(1, duration_ns / share)) + 1)
        repetitions = 3 if duration_ns < _SHORT_KERNEL_NS else 1
        beside_ns = median(self._chain_ns(stream, chain, kernel, launches) for _ in range(repetitions))
        return max(PPM // 2, round(PPM * (1 + (beside_ns / alone_ns - 1) / share)))

    def _alone(self, stream: Stream, chain: int) -> int:
        key = (stream, chain)
        if key not in self._alone_ns:
            self._alone_ns[key] = round(median(self._chain_ns(stream, chain, None, 0) for _ in range(5)))
        return self._alone_ns[key]

    def _chain_ns(self, stream: Stream, chain: int, kernel: Action | None, launches: int) -> int:
        copy = self._copies[stream]

        def copies() -> None:
            for _ in range(chain):
                copy()

        marked, stopwatch = self._device.timed(stream, copies)
        for _ in range(min(launches, 2)):
            if kernel is not None:
                kernel()
        marked()
        for _ in range(launches - 2):
            if kernel is not None:
                kernel()
        self._device.drain()
        begin_ns, end_ns = stopwatch.read()
        return end_ns - begin_ns
