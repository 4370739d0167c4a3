"""Points on streams that the host or another stream waits for, on the CPU and on the fake device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event as Flag

import pytest

torch = pytest.importorskip("torch")

from support.cases import linear_curve  # noqa: E402
from support.fake_device import FakeDevice, Marks, TrueKernel, Truth  # noqa: E402
from vdnnsim.gpu import HostCosts, Link  # noqa: E402
from vdnnsim.machines.real.cpu import CpuDevice  # noqa: E402
from vdnnsim.program import GPU_STREAMS, Stream  # noqa: E402

COMPUTE, OUT, IN = GPU_STREAMS
FREE = Truth(link=Link(linear_curve(), linear_curve()), host=HostCosts(), marks=Marks(), probe_ns=0)
"""A byte takes a nanosecond in either direction, calls nothing."""


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    device = CpuDevice()
    yield device
    device.close()


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def put(device: CpuDevice, seen: list[str]) -> Callable[[Stream, str], None]:
    """Put on a stream what takes a while and is then seen."""

    def put(stream: Stream, name: str) -> None:
        def work() -> None:
            time.sleep(0.01)
            seen.append(name)

        device._put(stream, work)()

    return put


def test_the_host_waits_for_the_point_and_not_for_what_follows(
    device: CpuDevice, seen: list[str], put: Callable[[Stream, str], None]
) -> None:
    event, gate = device.event(OUT), Flag()
    put(OUT, "first")
    event.record()
    device._put(OUT, gate.wait)()
    put(OUT, "second")
    event.host_wait()()
    assert seen == ["first"]
    gate.set()
    device.drain()


def test_a_stream_waits_for_the_point_where_it_was_when_the_wait_was_given(
    device: CpuDevice, seen: list[str], put: Callable[[Stream, str], None]
) -> None:
    """The copy given before the wait does not wait; the one after it does, and not for what the kernels do later."""
    event, gate = device.event(COMPUTE), Flag()
    hold = event.stream_wait(OUT)
    put(COMPUTE, "kernel")
    event.record()
    device._put(OUT, lambda: seen.append("before"))()
    hold()
    device._put(OUT, lambda: seen.append("after"))()
    device._put(COMPUTE, gate.wait)()
    event.record()
    device.wait(OUT)()
    assert seen == ["before", "kernel", "after"]
    gate.set()
    device.drain()


def test_a_point_that_was_never_recorded_has_long_passed(device: CpuDevice, seen: list[str]) -> None:
    event = device.event(COMPUTE)
    event.host_wait()()
    event.stream_wait(OUT)()
    device._put(OUT, lambda: seen.append("copy"))()
    device.drain()
    assert seen == ["copy"]


def test_an_error_before_the_point_is_told_to_the_host_that_waits_for_it(device: CpuDevice) -> None:
    event = device.event(COMPUTE)
    device.on_compute(lambda: 1 / 0)()
    event.record()
    with pytest.raises(ZeroDivisionError):
        event.host_wait()()
    event.host_wait()()


def memory(size_bytes: int) -> torch.Tensor:
    return torch.empty(size_bytes, dtype=torch.uint8, device="meta")


def test_on_the_fake_device_a_copy_waits_for_a_kernel_and_a_kernel_for_a_copy() -> None:
    """A kernel of 100 ns, a copy of 150 behind it, a kernel of 10 behind that, given from 7 ns on."""
    device = FakeDevice((), replace(FREE, host=HostCosts(stream_wait_ns=7)))
    kernels, copies = device.event(COMPUTE), device.event(OUT)
    device.launch(TrueKernel("any", 100, launch_ns=0, start_ns=0))
    kernels.record()
    assert device.now_ns() == 0
    kernels.stream_wait(OUT)()
    assert device.now_ns() == 7
    marked, copy = device.timed(OUT, device.copy(OUT, memory(150), memory(150)))
    marked()
    copies.record()
    copies.stream_wait(COMPUTE)()
    marked, kernel = device.timed(COMPUTE, lambda: device.launch(TrueKernel("any", 10, launch_ns=0, start_ns=0)))
    marked()
    assert device.now_ns() == 14, "the host waits for none of it"
    device.drain()
    assert (copy.read(), kernel.read()) == ((100, 250), (250, 260))


def test_on_the_fake_device_the_host_waits_for_one_of_two_copies() -> None:
    device = FakeDevice((), replace(FREE, host=HostCosts(synchronise_ns=3)))
    event = device.event(OUT)
    device.copy(OUT, memory(100), memory(100))()
    event.record()
    device.copy(OUT, memory(100), memory(100))()
    event.host_wait()()
    assert device.now_ns() == 103
    device.event(IN).host_wait()()
    assert device.now_ns() == 106, "what was never recorded has passed"
    device.drain()
    assert device.now_ns() == 203
