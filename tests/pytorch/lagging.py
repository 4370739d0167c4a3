"""The CUDA runtime's calls on the CPU's memory: a copy is done as late as waits allow, so that a missing wait shows."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from vdnnsim.machines.real.cuda_driver import PageMemory

COMPUTE, OUT, BACK = 7, 8, 9


class LaggingCalls:
    """See `engine_cuda.Calls`. The compute stream is the host itself: what it waits for is done at once."""

    def __init__(self) -> None:
        self.given: dict[int, list[Callable[[], object]]] = {OUT: [], BACK: []}
        self.done = {OUT: 0, BACK: 0}
        self.recorded: dict[int, tuple[int, int]] = {}
        self.events = 0
        self.pinned: list[PageMemory] = []

    def to_host(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        self._give(stream, lambda: ctypes.memmove(target, source, size_bytes))

    def to_device(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        self._give(stream, lambda: ctypes.memmove(target, source, size_bytes))

    def _give(self, stream: int, work: Callable[[], object]) -> None:
        self.given[stream].append(work)

    def event(self) -> int:
        self.events += 1
        return self.events

    def destroy(self, event: int) -> None:  # noqa: ARG002
        self.events -= 1

    def record(self, event: int, stream: int) -> None:
        self.recorded[event] = (stream, len(self.given.get(stream, ())))

    def wait(self, stream: int, event: int) -> None:
        of, count = self.recorded.get(event, (COMPUTE, 0))
        if of == COMPUTE:
            return  # the host is behind all that it has done itself
        if stream == COMPUTE:
            self._run(of, count)
        else:
            self._give(stream, lambda: self._run(of, count))

    def _run(self, stream: int, count: int) -> None:
        while self.done[stream] < count:
            self.done[stream] += 1
            self.given[stream][self.done[stream] - 1]()

    def synchronise(self, stream: int) -> None:
        self._run(stream, len(self.given[stream]))

    def pin(self, memory: PageMemory) -> None:
        self.pinned.append(memory)

    def unpin(self, memory: PageMemory) -> None:
        self.pinned.remove(memory)

    @property
    def under_way(self) -> int:
        """Copies that are not done."""
        return sum(len(self.given[stream]) - self.done[stream] for stream in self.given)
