"""What a capture rests on, checked on a GPU: that profiler, allocator's history and counters tell of the same blocks,
that launches are in order and in their operators, and that the captured step adds up to the allocator's own peak.

`-s` prints the figures; `VDNNSIM_CAPTURE=full` takes the examples' full-sized models in place of small ones.
"""

from __future__ import annotations

import gc
import time
from functools import cache
from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("needs an NVIDIA GPU", allow_module_level=True)

from pytorch.gpu_models import MODELS  # noqa: E402
from support.captured_peak import peak_bytes  # noqa: E402
from vdnnsim.captured import check_step  # noqa: E402
from vdnnsim.captured.step import CapturedStep, Doing  # noqa: E402
from vdnnsim.profiler.recording import STEP, Recorded  # noqa: E402
from vdnnsim.pytorch import capture  # noqa: E402
from vdnnsim.pytorch.cuda_device import CudaCaptureDevice  # noqa: E402
from vdnnsim.pytorch.holding import held_by  # noqa: E402
from vdnnsim.pytorch.profiling import record_light, record_step, still_collector  # noqa: E402
from vdnnsim.pytorch.user_step import UserStep  # noqa: E402


class Seen(NamedTuple):
    step: CapturedStep
    recorded: Recorded
    light: list[list[str]]
    seconds: float


@cache
def seen(name: str) -> Seen:
    """A capture, and recordings of the same step made by its own means."""
    step, model, optimizer = MODELS[name]()
    begun = time.monotonic()
    captured = capture(step, model, optimizer, name=name)
    seconds = time.monotonic() - begun
    device = CudaCaptureDevice(next(model.parameters()).device)
    user_step = UserStep(step)
    with still_collector():
        for _ in range(2):
            user_step()
        recorded = record_step(user_step, device, lambda: held_by(model, optimizer, device.torch_device))
        light = [[one.name for one in record_light(user_step, device)[0].gpu_work] for _ in range(2)]
    print(f"\n{name}: {captured}; captured in {seconds:.1f} s; {captured.seen}; {captured.hooks}")
    print("  " + captured.header.conditions["notices"])
    return Seen(captured, recorded, light, seconds)


pytestmark = pytest.mark.parametrize("name", MODELS)


def test_events_add_up_to_the_totals_and_the_peak_that_was_counted(name: str) -> None:
    recorded = seen(name).recorded
    events = recorded.recording.memory
    running = events[0].total_bytes - events[0].size_bytes
    for event in events:
        running += event.size_bytes
        assert running == event.total_bytes
    assert recorded.memory is not None
    assert recorded.peaks is not None
    held = sum(held_bytes for _, held_bytes in recorded.memory.blocks.values())
    begin_ns, _ = recorded.recording.window(STEP)
    assert [event.total_bytes for event in events if event.at_ns < begin_ns][-1] == held
    assert held + recorded.recording.rise_bytes(STEP) == recorded.peaks.allocated_bytes


def test_history_and_profiler_see_the_same_blocks_in_one_order(name: str) -> None:
    recorded = seen(name).recorded
    begin_ns, end_ns = recorded.recording.window(STEP)
    taken = [one.address for one in recorded.recording.memory if one.size_bytes > 0 and begin_ns <= one.at_ns < end_ns]
    assert recorded.asked is not None
    assert taken == [address for address, _ in recorded.asked]


def test_all_work_has_a_launch_in_an_operator_and_runs_in_the_order_of_launches(name: str) -> None:
    recording = seen(name).recorded.recording
    begin_ns, end_ns = recording.window(STEP)
    work = [one for one in recording.gpu_work if begin_ns <= one.launch_begin_ns < end_ns]
    assert [one.name for one in work if one.launch_begin_ns == one.begin_ns] == []
    outside = [
        one.name for one in work if not any(recording.ranges[n].is_operator for n in recording.chain(one.within))
    ]
    print(f"  {len(work)} kernels and copies, {len(outside)} launched outside of operators: {sorted(set(outside))}")
    assert len(outside) <= len(work) // 100
    assert [one.begin_ns for one in work] == sorted(one.begin_ns for one in work)
    assert len({one.stream for one in work}) == 1


def test_steps_that_are_timed_run_the_same_kernels(name: str) -> None:
    step, _, light, _ = seen(name)
    names = [kernel.name for kernel in step.kernels]
    assert light == [names, names]


def test_the_captured_blocks_add_up_to_the_requested_bytes_that_were_counted(name: str) -> None:
    step = seen(name).step
    check_step(step)
    assert peak_bytes(step, lambda block: block.given) == step.seen.peak_requested_bytes


def test_everything_that_is_needed_is_known_by_node_and_attribute(name: str) -> None:
    step = seen(name).step
    needed = {deed.number for deed in step.deeds if deed.doing is Doing.NEED}
    assert [one for n, one in enumerate(step.saved) if n in needed and not one.attribute] == []
    assert all(step.blocks[one.block].fetched_given is not None for one in step.saved if not one.stays)


def test_kernels_have_kinds_and_times(name: str) -> None:
    step = seen(name).step
    other = sorted({kernel.name for kernel in step.kernels if kernel.kind == "other"})
    by_kind: dict[str, int] = {}
    for kernel in step.kernels:
        by_kind[kernel.kind] = by_kind.get(kernel.kind, 0) + kernel.duration_ns
    print(f"  us by kind: { {kind: round(ns / 1000) for kind, ns in sorted(by_kind.items())} }; other: {other}")
    assert by_kind.get("other", 0) <= sum(by_kind.values()) // 20
    assert all(kernel.duration_ns > 0 for kernel in step.kernels)
    launches, kernels = (sum(getattr(one, what) for one in step.kernels) for what in ("launch_ns", "duration_ns"))
    print(f"  kernels {kernels / 1e6:.2f} ms, launches {launches / 1e6:.2f} ms, step {step.seen.step_ns / 1e6:.2f} ms")
    assert kernels <= 1.05 * step.seen.step_ns


def test_it_is_as_before_afterwards(name: str) -> None:
    step, model, optimizer = MODELS[name]()
    for _ in range(2):
        step()

    def state() -> list[object]:
        tensors = [*model.parameters(), *model.buffers(), *(one.grad for one in model.parameters())]
        tensors += [one for held in optimizer.state.values() for one in held.values() if isinstance(one, torch.Tensor)]
        found: list[object] = [one.detach().cpu().clone() for one in tensors if one is not None]
        return [*found, torch.get_rng_state(), torch.cuda.get_rng_state()]

    before = state()
    gc.collect()
    allocated = torch.cuda.memory_allocated()
    capture(step, model, optimizer)
    gc.collect()
    after = state()
    assert len(after) == len(before)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))  # type: ignore[arg-type]
    assert torch.cuda.memory_allocated() == allocated


def test_capturing_takes_less_than_a_minute(name: str) -> None:
    assert seen(name).seconds < 60
