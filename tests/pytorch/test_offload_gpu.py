"""What offloading rests on, checked on a GPU: that the calls of the runtime are right, that waits are enough whichever
of the streams is behind, that autograd's thread finds the stream of the step, that nothing is kept, and that peaks and
gradients are those that were predicted. `-s` prints the figures.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)

from torch import nn  # noqa: E402

from pytorch.gpu_models import MODELS as TRAININGS  # noqa: E402
from pytorch.probing import may_leave, plan_for, probe  # noqa: E402
from pytorch.tricky_models import MODELS, equal, gradients, made  # noqa: E402
from vdnnsim.captured import PlanFile  # noqa: E402
from vdnnsim.gpu import load_profile  # noqa: E402
from vdnnsim.machines.real.cuda_driver import CudaFailure, PageMemory, touch  # noqa: E402
from vdnnsim.pytorch import capture, measure, offload  # noqa: E402
from vdnnsim.pytorch.cudart import Runtime  # noqa: E402
from vdnnsim.pytorch.engine_cuda import CudaEngine, open_cuda_engine  # noqa: E402
from vdnnsim.pytorch.offloading import running_by  # noqa: E402
from vdnnsim.pytorch.running import Running  # noqa: E402

DEVICE = torch.device("cuda", 0)
BEHIND_CYCLES = 300_000
"""Some 0.2 ms."""


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    """Convolutions that do the same twice."""
    was, torch.backends.cudnn.deterministic = torch.backends.cudnn.deterministic, True
    yield
    torch.backends.cudnn.deterministic = was


def runtime() -> Runtime:
    torch.zeros(1, device=DEVICE)
    return Runtime(torch.version.cuda)


def on_gpu(name: str) -> tuple[nn.Module, Callable[[], Any]]:
    with DEVICE:
        model, step = made(name)
    return model, step


def repeats(model: nn.Module, step: Callable[[], Any], seeds: tuple[int, ...]) -> list[list[torch.Tensor]]:
    """The gradients without offload. Skips where they are not the same twice."""
    for _ in range(2):
        step()
    expected, again = ([gradients(model, step, seed) for seed in seeds] for _ in range(2))
    if not all(map(equal, expected, again)):
        pytest.skip("the step without offload differs from itself")
    return expected


def test_the_runtime_copies_there_and_back_in_the_order_of_its_waits() -> None:
    calls = runtime()
    data = torch.arange(1 << 20, dtype=torch.int32, device=DEVICE)
    back = torch.zeros_like(data)
    size_bytes = data.untyped_storage().nbytes()
    memory = PageMemory(size_bytes)
    touch(memory)
    calls.pin(memory)
    out, home = torch.cuda.Stream(), torch.cuda.Stream()
    begun, copied = calls.event(), calls.event()
    torch.cuda.synchronize()
    with torch.cuda.stream(home):
        torch.cuda._sleep(20 * BEHIND_CYCLES)
        data += 1
    calls.record(begun, home.cuda_stream)
    calls.wait(out.cuda_stream, begun)
    calls.to_host(memory.address, data.data_ptr(), size_bytes, out.cuda_stream)
    calls.record(copied, out.cuda_stream)
    calls.wait(home.cuda_stream, copied)
    calls.to_device(back.data_ptr(), memory.address, size_bytes, home.cuda_stream)
    calls.synchronise(home.cuda_stream)
    found = (ctypes.c_int32 * 2).from_address(memory.address)
    assert list(found) == [1, 2]
    assert torch.equal(back, data)
    for event in (begun, copied):
        calls.destroy(event)
    calls.unpin(memory)
    calls.pin(memory)  # given back, or it could not be pinned again
    calls.unpin(memory)


def test_a_call_that_fails_raises_and_spoils_nothing() -> None:
    calls = runtime()
    memory = PageMemory(1)
    touch(memory)
    calls.pin(memory)
    with pytest.raises(CudaFailure, match=r"cudaHostRegister: .+ \(error \d+\)"):
        calls.pin(memory)
    calls.unpin(memory)
    assert float(torch.ones(3, device=DEVICE).sum()) == 3.0


def test_the_two_streams_are_not_the_default_one_nor_wait_for_it() -> None:
    engine = open_cuda_engine(DEVICE, {0: 4096})
    try:
        assert engine.home == torch.cuda.current_stream().cuda_stream == 0
        out, back = engine._out, engine._back
        assert len({0, out, back}) == 3
        flags = ctypes.c_uint()
        for stream in (out, back):
            assert engine._calls._library.cudaStreamGetFlags(ctypes.c_void_p(stream), ctypes.byref(flags)) == 0  # type: ignore[attr-defined]
            assert flags.value == 1  # cudaStreamNonBlocking
    finally:
        engine.close()


@pytest.mark.parametrize("around", ["the default stream", "another stream"])
def test_autograds_thread_has_the_steps_stream(around: str) -> None:
    model, step = on_gpu("convolutions")
    plan = plan_for(probe(model, step))
    stream = torch.cuda.Stream() if around == "another stream" else torch.cuda.current_stream()
    stream.wait_stream(torch.cuda.current_stream())
    found: set[tuple[bool, int]] = set()
    with torch.cuda.stream(stream):
        expected = repeats(model, step, (1, 2))
        engine = open_cuda_engine(DEVICE, {block.block: block.size_bytes for block in plan.leaving})
        running = running_by(plan, engine, checked=True)

        def unpack(kept: Any) -> torch.Tensor:
            found.add((threading.current_thread() is threading.main_thread(), engine.here()))
            return running.unpack(kept)

        with torch.autograd.graph.saved_tensors_hooks(running.pack, unpack):
            got = [gradients(model, step, seed) for seed in (1, 2)]
        report = running.report()
        running.close()
    torch.cuda.synchronize()
    print(f"\n  {around}: (main thread, stream) of unpack {found}, home {engine.home}; {report}")
    assert all(map(equal, got, expected))
    assert {stream for _, stream in found} == {engine.home}
    assert (report.as_planned, report.late) == (2, 0)


def behind(stream: int) -> None:
    """Give the stream some work that lasts."""
    with torch.cuda.stream(torch.cuda.ExternalStream(stream) if stream else torch.cuda.default_stream()):
        torch.cuda._sleep(BEHIND_CYCLES)


class CopiesBehind(Runtime):
    """Each copy is late."""

    def to_host(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        behind(stream)
        super().to_host(target, source, size_bytes, stream)

    def to_device(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        behind(stream)
        super().to_device(target, source, size_bytes, stream)


def engine_with(plan: PlanFile, calls: Runtime, engine: type[CudaEngine] = CudaEngine) -> CudaEngine:
    streams = [torch.cuda.Stream(DEVICE).cuda_stream for _ in range(2)]
    sizes = {block.block: block.size_bytes for block in plan.leaving}
    return engine(DEVICE, sizes, calls, lambda: torch._C._cuda_getCurrentRawStream(0), *streams)


class ComputeBehind:
    """The hooks, with the compute stream behind each time."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def pack(self, tensor: torch.Tensor) -> Any:
        behind(0)
        return self._running.pack(tensor)

    def unpack(self, kept: Any) -> torch.Tensor:
        behind(0)
        return self._running.unpack(kept)


@pytest.mark.parametrize("ahead", [0, 4])
@pytest.mark.parametrize("late", ["copies", "compute", "none"])
@pytest.mark.parametrize("name", MODELS)
def test_waits_are_enough_whoever_is_behind(name: str, late: str, ahead: int) -> None:
    model, step = on_gpu(name)
    plan = plan_for(probe(model, step), None, ahead, 2000)
    expected = repeats(model, step, (1, 2, 3))
    version = torch.version.cuda
    running = running_by(plan, engine_with(plan, CopiesBehind(version) if late == "copies" else Runtime(version)), True)
    hooks = ComputeBehind(running) if late == "compute" else running
    with torch.autograd.graph.saved_tensors_hooks(hooks.pack, hooks.unpack):
        found = [gradients(model, step, seed) for seed in (1, 2, 3)]
    report = running.report()
    running.close()
    assert all(map(equal, found, expected))
    assert report.as_planned == 3
    assert report.late == 0


def test_a_wait_that_is_not_given_is_seen() -> None:
    class Careless(CudaEngine):
        def let_use(self, block: int, stream: int) -> None:
            """Not."""

    model, step = on_gpu("tricky")
    probed = probe(model, step)
    indices = {one.block for one in probed.saved if one.dtype == "int64"}
    plan = plan_for(probed, [number for number in may_leave(probed) if number not in indices])
    expected = repeats(model, step, (1,))
    running = running_by(plan, engine_with(plan, CopiesBehind(torch.version.cuda), Careless), True)
    with torch.autograd.graph.saved_tensors_hooks(running.pack, running.unpack):
        found = gradients(model, step, 1)
    torch.cuda.synchronize()
    running.close()
    assert not equal(found, expected[0])


def test_nothing_is_kept_and_it_may_be_entered_many_times() -> None:
    model, step = on_gpu("convolutions")
    plan = plan_for(probe(model, step))
    for _ in range(2):
        step()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(40):  # more streams than PyTorch's pool has
        with offload(model, plan) as running:
            step()
        assert running.report().as_planned == 1
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == before


def test_a_step_that_breaks_off_leaves_nothing_under_way() -> None:
    model, step = on_gpu("tricky")
    plan = plan_for(probe(model, step), ahead=4)
    expected = repeats(model, step, (1,))
    calls = 0

    def interrupted(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("amid a backward, with copies in under way")

    running = running_by(plan, engine_with(plan, CopiesBehind(torch.version.cuda)), True)
    handle = model.blocks[1].register_full_backward_hook(interrupted)  # type: ignore[index, union-attr]
    with torch.autograd.graph.saved_tensors_hooks(running.pack, running.unpack):
        with pytest.raises(KeyError):
            step()
        handle.remove()
        model.skip = None  # type: ignore[assignment]
        found = gradients(model, step, 1)
    running.close()
    assert equal(found, expected[0])


@pytest.mark.parametrize("name", TRAININGS)
def test_peaks_and_gradients_are_those_predicted(name: str) -> None:
    step, model, optimizer = TRAININGS[name]()
    card = torch.cuda.get_device_properties(0)
    gpu = replace(load_profile("h200" if "H200" in card.name else "h100"), capacity_bytes=card.total_memory)
    trace = capture(step, model, optimizer, name=name, gpu=gpu.name, smallest_bytes=1 << 16)
    policies = ["baseline", "offload(min_bytes=64KiB)", "offload(which=half, ahead=2, min_bytes=64KiB, in_flight=1MiB)"]
    found = measure(step, model, trace, gpu=gpu, policies=policies, optimizer=optimizer, own_link=False)
    print(f"\n{found}")
    assert [record.as_planned for record in found.records] == [1.0] * 3
    assert [record.requested_off_bytes for record in found.records] == [0] * 3
    assert "DIFFER" not in [record.gradients for record in found.records]
