"""A user's training made ready to be measured: steps by one plan after the other, from the same state.

Times are the host's around a step, with the device idle before and behind; memory is what the allocator counts, on the
CPU what the profiler sees; gradients are compared to the bit with those of the step without offload.

Links and cards that others share are slower at times, for milliseconds or seconds, and never faster. So the link is
looked at between steps, and a step's time is that of the steps beside which it ran at full speed, as far as there are
such, and which took at most a hundredth longer than the quickest; but where the host binds, whose pace is the step's
own, that of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from vdnnsim.calibration.samples import Sample, repetitions_within, sample, undisturbed
from vdnnsim.calibration.step_records import DIFFER, EQUAL, QUIET, Prediction, StepRecord
from vdnnsim.captured import CapturedStep, PlanFile
from vdnnsim.errors import first_line
from vdnnsim.pytorch.as_found import predicted_in, step_in
from vdnnsim.pytorch.devices import CaptureDevice
from vdnnsim.pytorch.gradients import Gradients, deterministic, gradients_of, same_bits
from vdnnsim.pytorch.holding import held_by
from vdnnsim.pytorch.link_looks import Look, link_looks
from vdnnsim.pytorch.offloading import offload
from vdnnsim.pytorch.peaks import profiled_rise_bytes
from vdnnsim.pytorch.profiling import still_collector, time_step
from vdnnsim.pytorch.running import Running
from vdnnsim.pytorch.state import KeptState
from vdnnsim.pytorch.user_step import Optimizers, OutOfMemory, Step, UserStep

if TYPE_CHECKING:
    from vdnnsim.pytorch.engine_cuda import PinnedMemory

WARM_STEPS = 3
"""The third step of an optimiser is the first that is like all others."""
_FEWEST, _MOST = 5, 20
_PATIENCE = 3
"""Steps are repeated until `QUIET` were undisturbed, up to so many times as often."""
SLOW = 1.01
"""A step that took longer than the quickest by this factor was disturbed."""
_BUDGET_NS = 2_000_000_000
Hooks = Callable[[], AbstractContextManager[object]]


class Counted(NamedTuple):
    """The peaks of some steps in bytes; None where nobody counts."""

    requested_bytes: int
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None


class TimedStep(NamedTuple):
    """How long a step took, and whether the link ran at full speed before and behind it."""

    step_ns: int
    quiet: bool


def _undisturbed(steps: Sequence[TimedStep]) -> list[int]:
    """The times of those that nothing slowed; where the link never was at full speed, of those that took little longer
    than the quickest."""
    times_ns = [one.step_ns for one in steps if one.quiet] or [one.step_ns for one in steps]
    return undisturbed(times_ns, SLOW) if times_ns else []


class Ran(NamedTuple):
    """Steps that ran, and their peaks, the share of them that went by the plan, if there is one, and whether a step's
    gradients are those of the step without offload, or why that cannot be told; `begun` is the captured step, beginning
    in the memory in which they began."""

    steps: tuple[TimedStep, ...]
    peaks: Counted
    as_planned: float
    gradients: str
    begun: CapturedStep

    @property
    def times(self) -> Sample:
        """Of all steps."""
        return sample(one.step_ns for one in self.steps)

    @property
    def undisturbed(self) -> Sample:
        """Of those that nothing slowed."""
        return sample(_undisturbed(self.steps))

    @property
    def quiet(self) -> int:
        """How many had a link at full speed before and behind them."""
        return sum(one.quiet for one in self.steps)


class _Base(NamedTuple):
    """The gradients of the step without offload, and whether it takes deterministic algorithms to get them twice."""

    gradients: Gradients
    deterministic: bool


@contextmanager
def step_bench(
    step: Step,
    model: torch.nn.Module,
    trace: CapturedStep,
    optimizer: Optimizers | None,
    device: CaptureDevice,
    machine: str = "",
) -> Iterator[StepBench]:
    """A bench for the training that `trace` is of. Everything is as before afterwards: of the optimiser's state, if it
    is given. Raises `StepFailed`."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.0)
    keep = partial(KeptState, model, optimizer)
    kept = keep()
    try:
        with still_collector(), link_looks(device.torch_device) as look:
            yield StepBench(UserStep(step), model, trace, optimizer, device, machine, keep, look)
    finally:
        kept.put_back()


class StepBench:
    """See `step_bench`."""

    def __init__(
        self,
        step: UserStep,
        model: torch.nn.Module,
        trace: CapturedStep,
        optimizer: Optimizers,
        device: CaptureDevice,
        machine: str,
        keep: Callable[[], KeptState],
        look: Look,
    ) -> None:
        self._step, self._model, self._trace, self._optimizer = step, model, trace, optimizer
        self._device, self._machine, self._look = device, machine, look
        for _ in range(WARM_STEPS):
            step()
        self._kept = keep()

    def case(
        self, prediction: Prediction, plan: PlanFile, capped: bool = False, pinned: PinnedMemory | None = None
    ) -> StepRecord:
        """Measure a plan's steps, within the prediction's capacity if `capped`. Raises `StepFailed`."""
        hooks = partial(offload, self._model, plan, pinned=pinned)
        _ = self._base  # without a cap
        capacity_bytes = prediction.capacity_bytes if capped else None
        try:
            with _capped(self._device, capacity_bytes):
                ran = self.run(hooks, patient=not prediction.host_bound)
            fits = capacity_bytes is None or ran.peaks.requested_bytes <= capacity_bytes  # where nobody caps
        except OutOfMemory:
            fits = False
        if not fits:
            return StepRecord(prediction, None, 0, 0, None, None, None, "out of memory", 0.0, self._machine)
        times = ran.times if prediction.host_bound else ran.undisturbed
        return StepRecord(
            predicted_in(ran.begun, prediction, plan),
            times.median_ns,
            times.spread_ppm,
            times.repetitions,
            *ran.peaks,
            ran.gradients,
            ran.as_planned,
            self._machine,
            ran.times.median_ns,
            ran.times.repetitions,
            ran.quiet,
        )

    def run(self, hooks: Hooks, patient: bool = True) -> Ran:
        """Steps within `hooks()`, which is entered once for all of them, since it may pin gigabytes. Who is `patient`
        takes more of them where many were disturbed."""
        device, base = self._device, self._base
        with hooks() as running:
            for _ in range(WARM_STEPS):
                self._step()
            memory = device.begin(watch_sizes=False)
            begun = step_in(self._trace, memory, held_by(self._model, self._optimizer, device.torch_device))
            steps = self._timed_steps(_PATIENCE if patient else 1)
            counted, _ = device.end()
            report = running.report() if isinstance(running, Running) else None
            gradients = base if isinstance(base, str) else self._compared(base, running)
        peaks = Counted(*counted) if counted else self._profiled(hooks)
        as_planned = report.as_planned / report.steps if report and report.steps else 1.0
        return Ran(steps, peaks, as_planned, gradients, begun)

    def _timed_steps(self, patience: int) -> tuple[TimedStep, ...]:
        fast = self._look()
        found: list[TimedStep] = []
        count = _FEWEST
        while len(found) < count or (
            len(found) < patience * count and len(_undisturbed([one for one in found if one.quiet])) < QUIET
        ):
            step_ns = time_step(self._step, self._device).step_ns
            if not found:
                count = repetitions_within(_BUDGET_NS, step_ns, _FEWEST, _MOST)
            before, fast = fast, self._look()
            found.append(TimedStep(step_ns, before and fast))
        return tuple(found)

    # Memory where only the profiler counts

    def _profiled(self, hooks: Hooks) -> Counted:
        return Counted(self._there_bytes + self._rise_bytes(hooks))

    def _rise_bytes(self, hooks: Hooks = nullcontext) -> int:
        held = [parameter.grad for parameter in self._model.parameters()]  # the profiler complains of what it never saw
        rise_bytes = profiled_rise_bytes(self._step, hooks)
        del held
        return rise_bytes

    @cached_property
    def _there_bytes(self) -> int:
        """What is there before a step, as the capture counts it."""
        return self._trace.seen.peak_requested_bytes - self._rise_bytes()

    # Gradients

    def _compared(self, base: _Base, running: object) -> str:
        before = _strayed(running)
        try:
            with deterministic(base.deterministic):
                found = gradients_of(self._step, self._model, self._kept)
        except OutOfMemory:  # of a step that may be another one, which says nothing of the plan's
            return "cannot be told: the step whose gradients are compared finds no room"
        if not same_bits(found, base.gradients):
            return DIFFER
        if _strayed(running) > before:  # other attention saves other tensors, which stay: nothing was put to the test
            return "cannot be told: with deterministic algorithms, which it takes, the step is not the plan's"
        return EQUAL

    @cached_property
    def _base(self) -> _Base | str:
        """The gradients without offload, or why there are none to compare with."""
        for wanted in (False, True):
            try:
                with deterministic(wanted):
                    found, again = (gradients_of(self._step, self._model, self._kept) for _ in range(2))
            except OutOfMemory:
                return "cannot be told: the step without offload finds no room"
            except Exception as error:  # an operator that has no deterministic algorithm
                if not wanted:
                    raise
                return f"cannot be told: {first_line(error)}"
            if same_bits(found, again):
                return _Base(found, wanted)
        return "cannot be told: the step without offload differs from itself"


def _strayed(running: object) -> int:
    """How many steps so far were not the plan's."""
    if not isinstance(running, Running):
        return 0
    report = running.report()
    return report.steps - report.as_planned


@contextmanager
def _capped(device: CaptureDevice, capacity_bytes: int | None) -> Iterator[None]:
    """PyTorch's allocator may hold no more than this of a GPU."""
    if capacity_bytes is None or device.torch_device.type != "cuda":
        yield
        return
    total_bytes = torch.cuda.get_device_properties(device.torch_device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, capacity_bytes / total_bytes), device.torch_device)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device.torch_device)
