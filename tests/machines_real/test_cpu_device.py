"""The CPU as a device: streams in order, copies that overlap, refusals with both numbers, errors told to who waits."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from vdnnsim.machines.real.cpu import CpuDevice  # noqa: E402
from vdnnsim.machines.real.device import DeviceRefused  # noqa: E402
from vdnnsim.program import Stream  # noqa: E402

TOO_MUCH_BYTES = 1 << 60


@pytest.fixture
def device() -> Iterator[CpuDevice]:
    device = CpuDevice()
    yield device
    device.close()


def test_a_slab_that_does_not_fit_is_refused_with_both_numbers(device: CpuDevice) -> None:
    with pytest.raises(DeviceRefused, match=rf"{TOO_MUCH_BYTES} bytes.*--capacity"):
        device.make_slab(TOO_MUCH_BYTES)


def test_pinned_memory_that_the_host_lacks_is_refused_with_both_numbers(device: CpuDevice) -> None:
    with pytest.raises(DeviceRefused, match=rf"bytes\) available, expected .*\({TOO_MUCH_BYTES + 512} bytes\)"):
        device.make_pinned([512, TOO_MUCH_BYTES])


def test_it_is_no_gpu(device: CpuDevice) -> None:
    assert (device.uuid, device.state()) == ("", None)


def test_a_smaller_slab_is_cut_from_the_larger(device: CpuDevice) -> None:
    large = device.make_slab(4096)
    assert device.make_slab(512).data_ptr() == large.data_ptr()


def test_pinned_buffers_do_not_overlap(device: CpuDevice) -> None:
    first, second = device.make_pinned([512, 1024])
    first.fill_(1)
    second.fill_(2)
    assert first.tolist() == [1] * 512
    assert second.numel() == 1024


def test_streams_run_beside_each_other_and_each_in_order(device: CpuDevice) -> None:
    seen: list[str] = []

    def slow() -> None:
        time.sleep(0.1)
        seen.append("slow")

    device.on_compute(slow)()
    device.on_compute(lambda: seen.append("after slow"))()
    source, target = torch.ones(8, dtype=torch.uint8), torch.zeros(8, dtype=torch.uint8)
    device.copy(Stream.COPY_OUT, target, source)()
    device.wait(Stream.COPY_OUT)()
    assert target.tolist() == [1] * 8
    assert seen == []
    device.drain()
    assert seen == ["slow", "after slow"]


def test_an_error_is_told_once_to_who_waits_and_what_follows_it_is_skipped(device: CpuDevice) -> None:
    seen: list[str] = []
    device.on_compute(lambda: 1 / 0)()
    device.on_compute(lambda: seen.append("after"))()
    with pytest.raises(ZeroDivisionError):
        device.wait(Stream.COMPUTE)()
    device.wait(Stream.COMPUTE)()
    assert seen == []


def test_a_stopwatch_spans_the_work(device: CpuDevice) -> None:
    marked, stopwatch = device.timed(Stream.COMPUTE, device.on_compute(lambda: time.sleep(0.02)))
    marked()
    device.drain()
    begin_ns, end_ns = stopwatch.read()
    assert end_ns - begin_ns >= 20_000_000


def test_poison_at_once_is_a_nan_in_every_float(device: CpuDevice) -> None:
    memory = device.make_slab(512)
    device.poison(None, memory)
    assert bool(memory.view(torch.float32).isnan().all())
