"""`capture`: a few real steps of a user's training, and what they tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from statistics import median

import torch

from vdnnsim.calibration.samples import Sample, sample
from vdnnsim.captured.step import CapturedStep, Doing, ModelKernel, Phase, SavedTensor, Seen, StepHeader, WaitCosts
from vdnnsim.errors import InvalidInput
from vdnnsim.profiler.kinds import kind_of
from vdnnsim.profiler.operators import Operators
from vdnnsim.profiler.order import operators_of
from vdnnsim.profiler.recording import STEP, Does, Recorded
from vdnnsim.profiler.timing import KernelTimes, gpu_times, host_times
from vdnnsim.pytorch.assembling import Blocks, View, keeping_view, other_view, peak_bytes
from vdnnsim.pytorch.devices import CaptureDevice, open_device
from vdnnsim.pytorch.digests import model_sha256, order_sha256
from vdnnsim.pytorch.holding import GradientLooks, held_by
from vdnnsim.pytorch.hook_costs import measure_calls_in, measure_copies_in, measure_hook_costs
from vdnnsim.pytorch.hooks import KeepingHooks, LeavingHooks, modules_marked
from vdnnsim.pytorch.noticing import NOT_PUT_BACK, beside_others, check_one_stream, notices, unsteady
from vdnnsim.pytorch.packed import Label
from vdnnsim.pytorch.profiling import Timed, record_light, record_step, still_collector, time_step
from vdnnsim.pytorch.state import KeptState, RandomState
from vdnnsim.pytorch.user_step import Optimizers, Step, UserStep, check_training, keep_hooks_from_compiler
from vdnnsim.pytorch.wait_costs import long_waits, measure_unpinned, measure_waited_copy

_WARM_STEPS = 2
_TIMED_STEPS = 10
_SMALLEST_BYTES = {"cpu": 2**10, "cuda": 2**20}


def capture(
    step: Step,
    model: torch.nn.Module,
    optimizer: Optimizers,
    *,
    name: str = "",
    device: str | torch.device | None = None,
    gpu: str | None = None,
    setting: Mapping[str, int | float | str] | None = None,
    smallest_bytes: int | None = None,
    repetitions: int = _TIMED_STEPS,
) -> CapturedStep:
    """Run a few steps of a training and return what one of them does.

    `step()` does one step: forward, backward, and what the optimiser does. It is called some twenty times, and must do
    the same each time. Parameters, buffers, gradients, modes of modules, the optimiser's state and random states are as
    before afterwards, also where it raises; what the step itself consumes, such as batches of a loader, is not.

    `optimizer` may be a list of all that the step uses. `device` ("cuda", "cpu") is checked against where the model is;
    `gpu` names the profile that the step will be simulated with, if not the one titled as the device is called ("NVIDIA
    H200"); `setting` are the arguments that the model was made with. Saved tensors below `smallest_bytes` stay: by
    default 1 MiB, on the CPU 1 KiB. The step is timed `repetitions` times, its kernels half as often.

    Raises `InvalidInput` for a step that raises, has no backward, or does not do the same each time, and where memory
    is too small.
    """
    check_training(step, model, optimizer, "capture: found")
    keep_hooks_from_compiler()
    opened = open_device(str(device) if device is not None else None, model)
    least = _SMALLEST_BYTES[opened.torch_device.type] if smallest_bytes is None else smallest_bytes
    kept = KeptState(model, optimizer)
    try:
        with still_collector():
            return _Capture(step, model, optimizer, opened, least, repetitions).run(
                name or type(model).__name__, gpu or opened.name, setting or {}
            )
    finally:
        kept.put_back()


class _Capture:
    def __init__(
        self,
        step: Step,
        model: torch.nn.Module,
        optimizer: Optimizers,
        device: CaptureDevice,
        smallest_bytes: int,
        repetitions: int,
    ) -> None:
        self._step, self._model, self._optimizer = UserStep(step), model, optimizer
        self._device, self._smallest_bytes = device, smallest_bytes
        self._timed_steps, self._light_steps = repetitions, max(1, repetitions // 2)
        self._random = RandomState(device.torch_device)

    def run(self, name: str, gpu: str, setting: Mapping[str, int | float | str]) -> CapturedStep:
        begun = time.strftime("%Y-%m-%d %H:%M:%S %Z")
        for _ in range(_WARM_STEPS):
            self._random.put_back()
            self._step()
        timed = [self._timed(time_step) for _ in range(self._timed_steps)]
        blocks, plain, operators = self._recorded()
        stays = blocks.stays(self._smallest_bytes)
        self._record_leaving(blocks, operators, stays)
        kernels = self._kernels(blocks, operators, timed)
        listed = blocks.listed(plain, operators, [kernel.kind for kernel in kernels])
        saved = _saved(blocks, stays)
        peaks = _peaks(plain, blocks)
        times = sample(one.step_ns for one in timed)
        told = self._told(blocks, peak_bytes(listed, blocks.deeds), peaks[0], times, kernels)
        header = StepHeader(
            name,
            gpu,
            self._device.torch_device.type,
            dict(setting),
            str(torch.__version__),
            model_sha256(self._model),
            order_sha256(saved),
            {"date": begun} | self._device.conditions() | told,
        )
        seen = Seen(times.median_ns, times.spread_ppm, *peaks)
        memory = plain.recorded.memory
        return self._with_calls(
            CapturedStep(
                header,
                seen,
                measure_hook_costs(self._device.torch_device),
                tuple(operators.found),
                kernels,
                listed,
                saved,
                tuple(blocks.deeds),
                memory.segments if memory is not None else (),
            )
        )

    def _with_calls(self, step: CapturedStep) -> CapturedStep:
        """With what hooks and waits cost in the step itself, where the host does nothing else."""
        if self._device.host_runs_kernels:
            return step
        device = self._device.torch_device
        call_ns = measure_calls_in(step, lambda: self._timed(time_step), device)
        late_ns: list[int] = []
        with long_waits(device) as wait:

            def run() -> Timed:
                late_ns.append(wait())
                return self._timed(time_step)

            amid = measure_copies_in(step, step.hooks._replace(call_ns=max(call_ns, step.hooks.call_ns)), run, device)
        waits = WaitCosts(
            amid.begin_ns,
            round(median(late_ns)) if late_ns else 0,
            measure_waited_copy(lambda: self._timed(time_step), device),
            measure_unpinned(step, device),
        )
        return replace(step, hooks=amid.hooks, waits=waits)

    def _recorded(self) -> tuple[Blocks, View, Operators]:
        """The step without hooks, and with hooks that keep everything."""
        plain = self._record()
        hooks = KeepingHooks(self._device.torch_device)
        gradients = GradientLooks(self._optimizer)

        @contextmanager
        def marked() -> Iterator[None]:
            with (
                modules_marked(self._model, hooks.modules, plain.recording.runs_compiled),
                gradients.marked(),
                torch.autograd.graph.saved_tensors_hooks(hooks.pack, hooks.unpack),
            ):
                yield

        keeping = keeping_view(self._record(marked), self._device.host_runs_kernels)
        check_one_stream(keeping.recorded.recording)
        operators = Operators(keeping.recorded.recording, keeping.happenings)
        if not operators.has_backward:
            expected = "step() must call loss.backward() itself, and not in another thread"
            raise InvalidInput(f"the step: found no backward, expected one; {expected}")
        labels = {number: Label(*label) for number, label in hooks.labels.items()}
        blocks = Blocks(keeping, hooks.packed, labels, gradients.addresses)
        plain_view = other_view(plain, keeping, operators, "the step without hooks")
        blocks.without_hooks(plain_view)
        return blocks, plain_view, operators

    def _told(
        self, blocks: Blocks, added_up_bytes: int, counted_bytes: int, times: Sample, kernels: Sequence[ModelKernel]
    ) -> dict[str, str]:
        """What the user should know."""
        needed = [deed.number for deed in blocks.deeds if deed.doing is Doing.NEED]
        found = notices(blocks.keeping.recorded.recording, blocks.labels, len(blocks.packed), needed)
        found += [*self._device.notices(), *unsteady(times)]
        if self._device.host_runs_kernels:
            found += beside_others(times, sum(one.duration_ns + one.gap_ns for one in kernels))
        if added_up_bytes != counted_bytes:
            found.append(f"memory: the blocks add up to a peak of {added_up_bytes} B, {counted_bytes} B were counted")
        numbers = f"{_WARM_STEPS} to warm up, {self._timed_steps} timed, {self._light_steps} profiled for times"
        return {"steps": f"{numbers}, 6 for the order", "notices": "\n".join([*found, NOT_PUT_BACK])}

    def _record_leaving(self, blocks: Blocks, operators: Operators, stays: Sequence[str]) -> None:
        needed = [deed.number for deed in blocks.deeds if deed.doing is Doing.NEED]
        hooks = LeavingHooks(blocks.leaving(stays), needed)
        recorded = self._record(lambda: torch.autograd.graph.saved_tensors_hooks(hooks.pack, hooks.unpack))
        blocks.when_all_leave(other_view(recorded, blocks.keeping, operators, "the step in which everything leaves"))

    def _record(self, hooks: Callable[[], AbstractContextManager[object]] = nullcontext) -> Recorded:
        self._random.put_back()
        return record_step(
            self._step,
            self._device,
            lambda: held_by(self._model, self._optimizer, self._device.torch_device),
            hooks,
        )

    def _timed(self, how: Callable[[Step, CaptureDevice], Timed]) -> Timed:
        self._random.put_back()
        return how(self._step, self._device)

    def _kernels(self, blocks: Blocks, operators: Operators, timed: Sequence[Timed]) -> tuple[ModelKernel, ...]:
        keeping = blocks.keeping
        light = []
        hosts = []
        for _ in range(self._light_steps):
            self._random.put_back()
            recording, times = record_light(self._step, self._device)
            light.append(recording)
            hosts.append(times.host_ns)
        launches = [one for one in keeping.happenings if one.does is Does.LAUNCH]
        if keeping.kernels is not None:
            recording = keeping.recorded.recording
            names = [recording.ranges[number].name for number in operators_of(recording, recording.window(STEP))]
            found = host_times(light, names, keeping.kernels, round(median(one.step_ns for one in timed)))
        else:
            scale = min(1.0, median(one.host_ns for one in timed) / median(hosts))
            found = gpu_times(light, [one.name for one in launches], scale)
        return tuple(
            self._kernel(launch.name, operators.number(launch.within), operators, times)
            for launch, times in zip(launches, found, strict=True)
        )

    def _kernel(self, name: str, operator: int, operators: Operators, times: KernelTimes) -> ModelKernel:
        of = operators.found[operator]
        kind = kind_of(name, of.name, of.phase is Phase.OPTIMISER, self._device.host_runs_kernels)
        return ModelKernel(name, kind, operator, *times)


def _saved(blocks: Blocks, stays: Sequence[str]) -> tuple[SavedTensor, ...]:
    found = []
    for number, (one, block, why) in enumerate(zip(blocks.packed, blocks.of_saved, stays, strict=True)):
        label = blocks.labels.get(number, Label("", ""))
        found.append(SavedTensor(block, *label, one.module, one.dtype, one.shape, one.stride, one.offset_bytes, why))
    return tuple(found)


def _peaks(plain: View, blocks: Blocks) -> tuple[int, int, int]:
    """As the allocator counts them; where only the profiler does, what it saw on top of what was there."""
    peaks = plain.recorded.peaks
    if peaks is not None:
        return peaks
    peak = sum(one.size_bytes for one in blocks.before) + plain.recorded.recording.rise_bytes(STEP)
    return peak, peak, peak
