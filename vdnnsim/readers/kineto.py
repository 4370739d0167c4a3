"""Chrome traces of torch.profiler (Kineto) of a user's own run: a training step as far as the file tells of it.

Format read in pytorch/kineto 114171df (`output_json.cpp`, `CuptiActivity.h`): times are microseconds with three
decimals; launches and what they launch share a `correlation`; `[memory]` events, which `profile_memory=True` writes,
say what was taken and given back; forward operators and nodes of the graph share a `Sequence number`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vdnnsim.captured import CapturedStep, check_step_writable
from vdnnsim.errors import Fault, InvalidFile, InvalidInput
from vdnnsim.profiler.recording import MODULE, STEP, Gathered, HostRange, Recording
from vdnnsim.readers.chrome_events import EVENTS, ChromeEvents
from vdnnsim.readers.kinds import Imported, Reader
from vdnnsim.readers.kineto_step import step_of_recordings
from vdnnsim.units import format_bytes, format_ms

_STEP_MARK = "ProfilerStep#"
_MODULE_MARK = "nn.Module: "
_MOST_STEPS = 8
_CPU, _CUDA = 0, 1
_WITH = "torch.profiler.profile(profile_memory=True, ...)"


class _Trace(NamedTuple):
    """All of the file that is of use."""

    recording: Recording
    events: int
    gpu: str
    device: str
    peaks_bytes: tuple[int, int]


def _recognises(head: bytes) -> bool:
    begin = head.lstrip()
    named = b'"schemaVersion"' in begin or b'"traceEvents"' in begin
    return (begin.startswith(b"{") and named) or (begin.startswith(b"[") and b'"ph"' in begin)


def read_kineto(path: Path) -> tuple[CapturedStep, tuple[str, ...], tuple[str, ...]]:
    """The step, what the file says of it, and what it does not. Raises `InvalidFile`."""
    trace = _gathered(path)
    steps = _steps(trace.recording)
    chosen = _with_equal_kernels(steps)
    step = step_of_recordings(path.name.partition(".")[0] or "step", trace.gpu, trace.device, chosen, trace.peaks_bytes)
    return step, _says(trace, step, chosen, len(steps)), _lacks(trace)


def _gathered(path: Path) -> _Trace:
    events, gathered = ChromeEvents(path), Gathered()
    categories: Counter[str] = Counter()
    for event in events:
        try:
            category = event.get("cat")
            categories[str(category)] += 1
            if category == "python_function":
                if event["name"].startswith(_MODULE_MARK):
                    gathered.add_range(event, MODULE + event["name"].removeprefix(_MODULE_MARK), False)
            else:
                gathered.add(event)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise events.fault(f"one without {error}", "an event as torch.profiler writes it") from None
    if not gathered.memory:
        found = f"{events.count} events without one called [memory]"
        raise events.fault(found, f"the blocks that the step takes, as {_WITH} writes them")
    device = _CUDA if gathered.work else _CPU
    of_device = [one for one in gathered.memory if one.device[0] == device]
    if not of_device:
        raise events.fault("memory of the CPU alone", f"that of the GPU, as {_WITH} writes it")
    index = Counter(one.device for one in of_device).most_common(1)[0][0][1]
    recording = gathered.recording(device, index)
    own = [one for one in of_device if one.device[1] == index]
    peaks = max(one.total_bytes for one in own), max(one.reserved_bytes for one in own)
    return _Trace(recording, events.count, _gpu(events.told, index), "cuda" if device else "cpu", peaks)


def _gpu(told: Mapping[str, Any], index: int) -> str:
    properties = told.get("deviceProperties")
    for one in properties if isinstance(properties, list) else ():
        if isinstance(one, Mapping) and one.get("id") == index and isinstance(one.get("name"), str):
            return str(one["name"]) or "unknown"
    return "cpu" if not properties else "unknown"


def _steps(recording: Recording) -> list[Recording]:
    """One recording for each step that the user's profiler marked, the same but for which range is called the step; of
    the whole where it marked none."""
    marked = [n for n, one in enumerate(recording.ranges) if one.name.startswith(_STEP_MARK)]
    if not marked:
        ranges = list(recording.ranges)
        begin_ns = min((one.begin_ns for one in ranges), default=0)
        end_ns = max((one.end_ns for one in ranges), default=0) + 1
        thread = ranges[0].thread if ranges else 0
        ranges.append(HostRange(STEP, False, begin_ns, end_ns, thread, None, -1))
        return [_with(recording, ranges)]
    found = []
    for number in marked[-_MOST_STEPS:]:
        ranges = list(recording.ranges)
        ranges[number] = ranges[number]._replace(name=STEP)
        found.append(_with(recording, ranges))
    return found


def _with(recording: Recording, ranges: list[HostRange]) -> Recording:
    window = next((one.begin_ns, one.end_ns) for one in ranges if one.name == STEP)
    work = [one for one in recording.gpu_work if window[0] <= one.launch_begin_ns < window[1]]
    waits = [one for one in recording.waits if window[0] <= one.begin_ns < window[1]]
    return Recording(ranges, recording.memory, work, waits, recording.hooked)


def _with_equal_kernels(steps: Sequence[Recording]) -> list[Recording]:
    """The last step, and before it those that launch the same kernels, whose times count too."""
    last = [one.name for one in steps[-1].gpu_work]
    return [step for step in steps[:-1] if [one.name for one in step.gpu_work] == last] + [steps[-1]]


def _says(trace: _Trace, step: CapturedStep, chosen: Sequence[Recording], steps: int) -> tuple[str, ...]:
    leaving = {one.block for one in step.saved if not one.stays}
    total_ns = sum(kernel.duration_ns for kernel in step.kernels)
    return (
        f"{trace.events} events; the last of {steps} steps, times by {len(chosen)} of them that launch the same",
        f"{len(step.kernels)} kernels, {format_ms(total_ns)} in all, of a step of {format_ms(step.seen.step_ns)}, on "
        f"{step.header.gpu}",
        f"{len(step.blocks)} blocks, peak {format_bytes(step.seen.peak_allocated_bytes)}; {len(leaving)} of them, "
        f"{format_bytes(sum(step.blocks[n].size_bytes for n in leaving))}, are held from forward to backward",
    )


def _lacks(trace: _Trace) -> tuple[str, ...]:
    streams = {one.stream for one in trace.recording.gpu_work}
    several = (f"what waits for what on its {len(streams)} streams: all is put on one, in the order of launches",)
    return (
        "which tensors are saved and when each is needed: what lives from forward to backward is taken for saved, by "
        "the operator behind the one that made it and by that whose node lets it go, needed when their nodes begin",
        "what parameters, gradients and the optimiser's state are: what was there before is one block or a few",
        "the host's time without the profiler, and what hooks cost it: launches take what they took under it, hooks "
        "nothing",
        "sizes as asked for: blocks are as large as the allocator gave them, and it begins empty",
        *(several if len(streams) > 1 else ()),
    )


def _read(path: Path) -> Imported:
    try:
        step, says, lacks = read_kineto(path)
    except InvalidFile:
        raise
    except InvalidInput as error:  # steps that differ, or a step that nothing can be made of
        raise InvalidFile([Fault(str(path), None, EVENTS, str(error), "a training step")]) from None
    return Imported(step, says, lacks, "vdnnsim compare {folder} --gpu PROFILE")


READER = Reader("kineto", "a trace of torch.profiler (Chrome JSON)", _recognises, _read, check_step_writable)
