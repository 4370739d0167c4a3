"""The CPU as a device: streams in order, copies that overlap, refusals with both numbers, errors told to who waits."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from support.cases import conv, layer, network_of  # noqa: E402
from vdnnsim.calibration.training import make_training  # noqa: E402
from vdnnsim.machines.real.cpu import CpuDevice  # noqa: E402
from vdnnsim.machines.real.device import DeviceRefused  # noqa: E402
from vdnnsim.machines.real.machine import RealMachine  # noqa: E402
from vdnnsim.machines.real.operators_cpu import CpuOperators  # noqa: E402
from vdnnsim.machines.real.streams import left_under_way  # noqa: E402
from vdnnsim.memory import make_pool  # noqa: E402
from vdnnsim.network import Kind  # noqa: E402
from vdnnsim.program import (  # noqa: E402
    Allocate,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    Kernel,
    MemoryClass,
    Program,
    Step,
    Stream,
    Synchronise,
)

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
    device.poison(memory)
    assert bool(memory.view(torch.float32).isnan().all())


def test_what_a_program_leaves_under_way_is_waited_for_at_its_end() -> None:
    buffer = Buffer("map:x", 512, MemoryClass.FEATURE_MAPS, "a", False)
    kernel, out, back = Kernel("a", "forward", "x"), CopyOut(buffer, "a"), CopyIn(buffer, "a", "b")

    def left(*commands: Command) -> list[Stream]:
        return left_under_way(Program((), commands, (), {}, ()))

    assert left(kernel, out, Synchronise((Stream.COMPUTE, Stream.COPY_OUT))) == []
    assert left(kernel, out, Synchronise((Stream.COMPUTE,)), back) == [Stream.COPY_OUT, Stream.COPY_IN]
    assert left(out, Synchronise((Stream.COPY_OUT,)), kernel) == [Stream.COMPUTE]


def test_an_iteration_lasts_until_its_last_copy_though_nobody_waits_for_it(device: CpuDevice) -> None:
    """A program of one copy out of 20 ms and no wait."""
    network = network_of(conv("a"), layer(Kind.SOFTMAX, "loss"))
    buffer = Buffer("map:data", 100, MemoryClass.FEATURE_MAPS, "a", False)
    weights = Buffer("weights:a", 4, MemoryClass.WEIGHTS, "a", False)
    operands = {buffer.name: buffer.name, weights.name: weights.name}
    program = Program((buffer, weights), (CopyOut(buffer, "a"),), (Step("a", False, False, 0, 1),), operands, (buffer,))
    machine = RealMachine(device, CpuOperators(), network, make_training(network, device.torch_device))
    loaded = machine.load(program, lambda: make_pool("best-fit", 1 << 20))
    sleep = device._put(Stream.COPY_OUT, lambda: time.sleep(0.02))
    loaded.orders = [loaded.orders[0]._replace(call=sleep), *loaded.orders]
    assert loaded.run() >= 20_000_000


def test_blocks_lie_where_the_program_has_them_in_every_iteration(device: CpuDevice) -> None:
    """Above a hole that the pool itself would take, as a solver places them; the next one is the pool's to place."""
    network = network_of(conv("a"), layer(Kind.SOFTMAX, "loss"))
    data = Buffer("map:data", 100, MemoryClass.FEATURE_MAPS, "a", False)
    weights = Buffer("weights:a", 4, MemoryClass.WEIGHTS, "a", False)
    placed = Buffer("map:a", 512, MemoryClass.FEATURE_MAPS, "a", False, address=4096)
    other = Buffer("workspace:a", 512, MemoryClass.WORKSPACE, "a", False)
    commands = (Allocate(placed), Allocate(other), Free(placed), Free(other))
    operands = {data.name: data.name, weights.name: weights.name}
    program = Program((data, weights), commands, (Step("a", False, False, 0, 4),), operands, ())
    machine = RealMachine(device, CpuOperators(), network, make_training(network, device.torch_device))
    loaded = machine.load(program, lambda: make_pool("best-fit", 1 << 20))
    assert [order.address for order in loaded.orders] == [4096, 1024, 4096, 1024]
    assert loaded.run() > 0
    assert len(loaded.run_paced()[0]) == len(commands)
