"""Looks at a GPU's link, without one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from captured.steps import three_layers
from vdnnsim.pytorch import engine_cuda, wait_costs
from vdnnsim.pytorch.link_looks import link_looks
from vdnnsim.pytorch.step_bench import Counted, Ran, TimedStep


class FakeRuntime:
    """Clocks in milliseconds: the stream's, which copies let run on, and the host's, which a call does. A stream with
    nothing to do waits for the host. Memory and what is pinned are counted."""

    def __init__(self) -> None:
        self.at_ms, self.copy_out_ms, self.copy_in_ms = 0.0, 1.0, 1.0
        self.host_ms, self.call_ms = 0.0, 0.0
        self.bursts_ms: list[float] = []
        self.taken: set[int] = set()
        self.pinned = 0

    def take(self, size_bytes: int) -> int:
        self.taken.add(size_bytes)
        return size_bytes

    def give_back(self, address: int) -> None:
        self.taken.remove(address)

    def pin(self, _: object) -> None:
        self.pinned += 1

    def unpin(self, _: object) -> None:
        self.pinned -= 1

    def to_host(self, *_: int) -> None:
        self.call()
        self.at_ms += self.copy_out_ms + (self.bursts_ms.pop() if self.bursts_ms else 0)

    def to_device(self, *_: int) -> None:
        self.call()
        self.at_ms += self.copy_in_ms

    def call(self) -> None:
        self.host_ms += self.call_ms
        self.at_ms = max(self.at_ms, self.host_ms)


class FakeEvent:
    runtime: FakeRuntime
    at_ms = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, _: object) -> None:
        self.runtime.call()
        self.at_ms = self.runtime.at_ms

    def elapsed_time(self, other: FakeEvent) -> float:
        return other.at_ms - self.at_ms


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    runtime = FakeEvent.runtime = FakeRuntime()
    stream: Any = SimpleNamespace(cuda_stream=7, synchronize=lambda: None)
    monkeypatch.setattr(engine_cuda, "cuda_runtime", lambda: runtime)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    return runtime


def test_the_host_knows_of_the_end_of_a_long_wait_some_time_later(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair of copies takes 2 ms: after one that is timed, with the 80 us by which the host is told late, so many are
    waited for that a tenth of a second goes by."""
    waited_ms: list[float] = []

    def synchronize(_: object) -> None:
        waited_ms.append(runtime.at_ms)

    clock = SimpleNamespace(perf_counter_ns=lambda: round(1e6 * runtime.at_ms) + 80_000 * len(waited_ms))
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(wait_costs, "time", clock)
    with wait_costs.long_waits(torch.device("cuda", 0)) as wait:
        assert wait() == wait() == 80_000
    assert waited_ms[2] - waited_ms[1] == 2 * (100_000_000 // 2_080_000)
    assert (runtime.taken, runtime.pinned) == (set(), 0)


def test_a_copy_that_takes_longer_than_it_can_shows_a_slow_link(runtime: FakeRuntime) -> None:
    with link_looks(torch.device("cuda", 0)) as look:
        assert look()
        runtime.copy_in_ms = 1.02
        assert not look()
        runtime.copy_in_ms = 1.005
        assert look()
        runtime.bursts_ms = [0.1, 0.1]
        assert look()  # one of three copies out is at full speed
        runtime.bursts_ms = [0.1, 0.1, 0.1]
        assert not look()
        runtime.host_ms, runtime.call_ms = runtime.at_ms, 0.05
        assert look()  # a slow host is no slow link
        assert (len(runtime.taken), runtime.pinned) == (1, 1)
    assert (runtime.taken, runtime.pinned) == (set(), 0)


def test_a_step_s_time_is_that_of_steps_beside_a_link_at_full_speed_where_there_are_any() -> None:
    """The quickest, whose link was slow when it was looked at, says nothing beside two that were quiet."""
    steps = (TimedStep(100_000, False), TimedStep(200_000, True), TimedStep(201_000, True), TimedStep(300_000, True))

    def ran(*own: TimedStep) -> Ran:
        return Ran(own, Counted(1), 1, "equal", three_layers())

    assert (ran(*steps).undisturbed.median_ns, ran(*steps).quiet) == (200_500, 3)
    assert ran(TimedStep(100_000, False), TimedStep(150_000, False)).undisturbed.median_ns == 100_000
