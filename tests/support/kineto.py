"""Chrome traces as PyTorch's profiler writes them of a GPU, made by hand: a clock that each thing moves on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MAIN, ENGINE = 100, 101
"""Threads: the one of the step, and autograd's."""
LAUNCH_US, LATENCY_US = 4.0, 3.0


class GpuTrace:
    """A trace of one GPU, `Device Type` 1 and `Device Id` 0. A launch takes 4 us, and what it launches begins 3 us
    later, or 1 us behind what runs before it. `at_us` is the host's clock, `busy_us` until when the GPU works."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.at_us = self.busy_us = 1000.0
        self.thread = MAIN
        self._total = 0
        self._correlation = 0

    @property
    def json(self) -> dict[str, Any]:
        return {"traceEvents": self.events}

    @contextmanager
    def range(self, name: str, category: str = "cpu_op", sequence: int = -1) -> Iterator[None]:
        begin_us = self.at_us
        thread = self.thread
        self.at_us += 1
        yield
        self.at_us += 1
        args = {"Ev Idx": len(self.events)} | ({"Sequence number": sequence} if sequence >= 0 else {})
        self._add("X", category, name, begin_us, self.at_us - begin_us, thread, args)

    def mark(self, name: str) -> None:
        with self.range(name, "user_annotation"):
            pass

    def memory(self, address: int, size_bytes: int) -> None:
        """A block taken, or given back where the size is negative."""
        self._total += size_bytes
        args = {
            "Device Type": 1,
            "Device Id": 0,
            "Addr": address,
            "Bytes": size_bytes,
            "Total Allocated": self._total,
            "Ev Idx": len(self.events),
        }
        self._add("i", "cpu_instant_event", "[memory]", self.at_us, 0, self.thread, args)
        self.at_us += 0.5

    def launch(
        self,
        kernel: str,
        runs_us: float,
        stream: int = 7,
        category: str = "kernel",
        call: str = "cuda_runtime",
        takes_us: float = LAUNCH_US,
    ) -> None:
        self._correlation += 1
        correlation = {"correlation": self._correlation}
        self._add("X", call, "cudaLaunchKernel", self.at_us, takes_us, self.thread, correlation)
        self.at_us += takes_us
        begin_us = max(self.at_us + LATENCY_US, self.busy_us + 1)
        self.busy_us = begin_us + runs_us
        self._add("X", category, kernel, begin_us, runs_us, 0, correlation | {"stream": stream})

    def overhead(self, lasts_us: float) -> None:
        """The profiler keeps the host busy with itself."""
        self._add("X", "overhead", "Activity Buffer Request", self.at_us, lasts_us, self.thread, {})
        self.at_us += lasts_us

    def synchronize(self) -> None:
        """The host waits for the GPU."""
        begin_us, self.at_us = self.at_us, max(self.at_us, self.busy_us) + 1
        self._correlation += 1
        args = {"correlation": self._correlation}
        self._add("X", "cuda_runtime", "cudaDeviceSynchronize", begin_us, self.at_us - begin_us, self.thread, args)

    def _add(
        self, kind: str, category: str, name: str, at_us: float, lasts_us: float, thread: int, args: dict[str, Any]
    ) -> None:
        event = {"ph": kind, "cat": category, "name": name, "ts": at_us, "tid": thread, "args": args}
        self.events.append(event | ({"dur": lasts_us} if kind == "X" else {}))
