"""What our hooks cost the host on this machine: timed on a plan of some blocks, without a model; and a call that does
nothing amid a model's own calls, where neither Python nor the processor is warm for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

import torch

from vdnnsim.captured import CapturedStep, HookCosts, LeavingBlock, PlanFile, SavedView, hook_schedule
from vdnnsim.pytorch.offloading import open_engine, running_by
from vdnnsim.pytorch.profiling import Timed
from vdnnsim.pytorch.running import Running

_BLOCKS = 40
_ROUNDS = 7
_BLOCK_BYTES = {"cuda": 1 << 20, "cpu": 1 << 10}
_PAIRS = 6
_T = TypeVar("_T")


def measure_hook_costs(device: torch.device) -> HookCosts:
    """The median over some rounds, in nanoseconds. Takes 40 MiB of the GPU and as much pinned memory for a moment; on
    the CPU a copy's own time is in its call."""
    size_bytes = _BLOCK_BYTES[device.type]
    tensors = [torch.empty(size_bytes, dtype=torch.uint8, device=device) for _ in range(_BLOCKS)]
    engine = open_engine(device, dict.fromkeys(range(_BLOCKS), size_bytes))
    running = running_by(_plan(size_bytes), engine)
    small = torch.empty(0, device=device)
    try:
        rounds = [_round(running, tensors, small) for _ in range(_ROUNDS + 1)]
        report = running.report()
        assert report.as_planned == report.steps == len(rounds)
    finally:
        running.close()
    return HookCosts(*(round(median(costs)) for costs in zip(*rounds[1:], strict=True)))


def measure_calls_in(step: CapturedStep, time_step: Callable[[], Timed], device: torch.device) -> int:
    """What a call of hooks by which nothing leaves costs in this step, in nanoseconds: how much longer the host takes
    with them, in the median of some pairs of steps. Less than it is where the host waits for the GPU anyway."""
    running = running_by(PlanFile.of(step, "costs", hook_schedule(step), 0, 0), open_engine(device, {}))

    def hooked() -> Timed:
        with torch.autograd.graph.saved_tensors_hooks(running.pack, running.unpack):
            return time_step()

    try:
        more_ns = median(hooked().host_ns - time_step().host_ns for _ in range(_PAIRS))
    finally:
        running.close()
    return max(0, round(more_ns / max(1, len(step.hook_calls))))


def _plan(size_bytes: int) -> PlanFile:
    """As many tensors that stay as blocks that leave are saved first, then these, then one more that stays: there the
    blocks are let go. When that one is needed first, all blocks come back; then they are needed, and then the rest."""
    last_save = 2 * _BLOCKS + 1
    leaving = tuple(
        LeavingBlock(
            block,
            (SavedView(_BLOCKS + block, "uint8", (size_bytes,), (1,), 0),),
            1,
            size_bytes,
            _BLOCKS + block + 1,
            last_save,
            last_save + 1,
            last_save + 2 + block,
        )
        for block in range(_BLOCKS)
    )
    return PlanFile("costs", "costs", "", "", "", (last_save, last_save), leaving, 0, 0)


def _round(running: Running, tensors: list[torch.Tensor], small: torch.Tensor) -> tuple[float, float, float, float]:
    """(a call, a copy out, a copy in, a stream's wait) in nanoseconds, each of the last three without the call."""
    staying = [_timed(running.pack, small) for _ in tensors]
    leaving = [_timed(running.pack, tensor) for tensor in tensors]
    drops_ns, last = _timed(running.pack, small)
    fetches_ns, _ = _timed(running.unpack, last)
    needs_ns = [_timed(running.unpack, kept)[0] for _, kept in leaving]
    calls_ns = [taken_ns + _timed(running.unpack, kept)[0] for taken_ns, kept in staying]
    call_ns = median(calls_ns) / 2
    waits_ns = ((drops_ns - call_ns) / len(tensors) + median(needs_ns) - call_ns) / 2
    copy_out_ns = median(taken_ns for taken_ns, _ in leaving) - call_ns
    return call_ns, max(0.0, copy_out_ns), max(0.0, (fetches_ns - call_ns) / len(tensors)), max(0.0, waits_ns)


def _timed(call: Callable[..., _T], *arguments: object) -> tuple[int, _T]:
    begin_ns = time.perf_counter_ns()
    result = call(*arguments)
    return time.perf_counter_ns() - begin_ns, result
