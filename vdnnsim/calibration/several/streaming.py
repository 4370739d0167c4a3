"""Copies one behind the other, in one direction or both at once, from and to more memory than a processor's caches
hold: what a link carries for as long as it is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from vdnnsim.calibration.several.streams import IN, OUT
from vdnnsim.machines.real.device import Action, Device
from vdnnsim.program import Stream

STREAMS = {OUT: Stream.COPY_OUT, IN: Stream.COPY_IN}


class Streaming:
    """The memory of such copies: half of the largest copy's for each direction, in pieces of the reference's size.
    Raises `DeviceRefused` where it is missing. Valid until the device makes another slab or arena."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.piece_bytes = size = device.reference_bytes
        count = max(2, device.largest_copy_bytes // size)
        device.enter()
        slab = device.make_slab(count * size)
        here = [slab[index * size : (index + 1) * size] for index in range(count)]
        there = device.make_pinned([size] * count)
        self._copies: dict[str, list[Action]] = {
            OUT: [device.copy(Stream.COPY_OUT, there[index], here[index]) for index in range(count // 2)],
            IN: [device.copy(Stream.COPY_IN, here[index], there[index]) for index in range(count // 2, count)],
        }

    def run(self, directions: Sequence[str], copies: int, at_ns: int) -> dict[str, list[tuple[int, int]]]:
        """So many copies in each direction from a moment of the host's clock on: begin and end of each on it."""
        device = self._device
        device.enter()
        marked = {
            way: [device.timed(STREAMS[way], copy) for copy in islice(cycle(self._copies[way]), copies)]
            for way in directions
        }
        while device.now_ns() < at_ns:
            pass
        for turn in zip(*marked.values(), strict=True):
            for copy, _ in turn:
                copy()
        device.drain()
        return {way: [stopwatch.read() for _, stopwatch in pairs] for way, pairs in marked.items()}
