"""What our hooks cost the host on this machine: timed on a plan of some blocks, without a model; and amid a model's own
calls, where neither Python nor the processor is warm for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import NamedTuple, TypeVar

import torch

from vdnnsim.captured import (
    CapturedStep,
    Doing,
    HookCosts,
    HookDeeds,
    LeavingBlock,
    PlanFile,
    SavedView,
    agenda_of,
    hook_schedule,
)
from vdnnsim.captured.choosing import may_leave
from vdnnsim.machines.real.device import DeviceRefused
from vdnnsim.pytorch.offloading import open_engine, running_by, sizes_of
from vdnnsim.pytorch.profiling import Timed
from vdnnsim.pytorch.running import Running

_BLOCKS = 40
_ROUNDS = 7
_BLOCK_BYTES = {"cuda": 1 << 20, "cpu": 1 << 10}
_PAIRS = 6
_CLOCKED_STEPS = 4
_CLOCKED_BYTES = 1 << 30
"""Of blocks that leave while calls are clocked: host memory is pinned for them."""
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


class Amid(NamedTuple):
    """What hooks cost in a step, and how much later than launches and hooks say its first copy out is given, in
    nanoseconds."""

    hooks: HookCosts
    begin_ns: int


class _Call(NamedTuple):
    """A call of the hooks: when it began, by the host's clock, and how long it took."""

    begun_ns: int
    taken_ns: int


def measure_copies_in(step: CapturedStep, alone: HookCosts, run: Callable[[], Timed], device: torch.device) -> Amid:
    """`alone`, what hooks cost one right behind the other, with copies out and in as they cost in this step, if that is
    more. Some blocks leave, in steps that `run` makes; the calls are clocked, and by how much those with copies take
    longer than those without is set beside what `alone` says of them, in the median. `alone` where the host has too
    little memory for the blocks, and where none may leave."""
    plan = PlanFile.of(step, "costs", hook_schedule(step, _some(step), ahead=4), 0, 0)
    try:
        engine = open_engine(device, sizes_of(plan)) if plan.leaving else None
    except DeviceRefused:
        engine = None
    if engine is None:
        return Amid(alone, 0)
    running = running_by(plan, engine)
    begun_ns: list[int] = []
    clocked: list[list[_Call]] = []
    try:
        for _ in range(_CLOCKED_STEPS):
            with _clocked(running) as calls:
                begun_ns.append(run().begun_ns)
            clocked.append(calls)
        if running.report().as_planned < _CLOCKED_STEPS:
            return Amid(alone, 0)
    finally:
        running.close()
    agenda = agenda_of(plan.leaves)
    out = [stage for stage, deeds in agenda.items() if deeds.out]
    back = [stage for stage, deeds in agenda.items() if deeds.fetched or deeds.back]
    times = [_times_as_long(agenda, stages, clocked[1:], alone) for stages in (out, back)]
    copies_ns = [round(factor * cost_ns) for factor, cost_ns in zip(times, alone[1:3], strict=True)]
    hooks = alone._replace(copy_out_ns=copies_ns[0], copy_in_ns=copies_ns[1])
    first = min(out)
    said_ns = _first_copy_ns(step, agenda, hooks, first)
    late_ns = [
        calls[first - 1].begun_ns + calls[first - 1].taken_ns - begin_ns - said_ns
        for begin_ns, calls in zip(begun_ns[1:], clocked[1:], strict=True)
    ]
    return Amid(hooks, max(0, round(median(late_ns))))


def _first_copy_ns(step: CapturedStep, agenda: Mapping[int, HookDeeds], hooks: HookCosts, stage: int) -> int:
    """When the hook call of this stage is over, by what launches and hooks before it take."""
    launches = (deed.number for deed in step.deeds[: step.hook_calls[stage - 1]] if deed.doing is Doing.LAUNCH)
    copies_ns = sum(_cost_ns(deeds, hooks) for at, deeds in agenda.items() if at <= stage)
    return sum(step.kernels[number].launch_ns for number in launches) + stage * hooks.call_ns + copies_ns


def _times_as_long(
    agenda: Mapping[int, HookDeeds], stages: Sequence[int], clocked: Iterable[Sequence[_Call]], alone: HookCosts
) -> float:
    """How many times as long what is done at these hook calls takes as `alone` says: the median, no less than 1."""
    found = [1.0]
    for calls in clocked:
        idle = [call.taken_ns for stage, call in enumerate(calls, start=1) if stage not in agenda]
        idle_ns = median(idle or [alone.call_ns])
        found += [(calls[stage - 1].taken_ns - idle_ns) / max(1, _cost_ns(agenda[stage], alone)) for stage in stages]
    return max(1.0, median(found))


def _some(step: CapturedStep) -> Collection[int]:
    """Blocks that may leave, from all over the step, of no more bytes together than are pinned for them."""
    numbers = sorted(may_leave(step))
    for every in range(1, len(numbers) + 1):
        some = numbers[::every]
        if sum(step.blocks[number].size_bytes for number in some) <= _CLOCKED_BYTES:
            return some
    return ()


@contextmanager
def _clocked(running: Running) -> Iterator[list[_Call]]:
    """Each call of the hooks, in order."""
    calls: list[_Call] = []

    def clocked(call: Callable[..., _T], argument: object) -> _T:
        begun_ns = time.perf_counter_ns()
        taken_ns, found = _timed(call, argument)
        calls.append(_Call(begun_ns, taken_ns))
        return found

    with torch.autograd.graph.saved_tensors_hooks(partial(clocked, running.pack), partial(clocked, running.unpack)):
        yield calls


def _cost_ns(deeds: HookDeeds, alone: HookCosts) -> int:
    """What a call costs beyond one that does nothing."""
    waits = len(deeds.awaited) + len(deeds.dropped)
    copies_in = len(deeds.fetched) + len(deeds.back)
    return len(deeds.out) * alone.copy_out_ns + copies_in * alone.copy_in_ns + waits * alone.stream_wait_ns


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
