"""Chrome traces of torch.profiler (Kineto) of a user's own run: a training step as far as the file tells of it.

Format read in pytorch/kineto 114171df (`output_json.cpp`, `CuptiActivity.h`): times are microseconds with three
decimals; launches and what they launch share a `correlation`; `[memory]` events, which `profile_memory=True` writes,
say what was taken and given back; forward operators and nodes of the graph share a `Sequence number`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from vdnnsim.captured import CapturedStep, check_step_writable, is_step
from vdnnsim.errors import Fault, InvalidFile, InvalidInput, shown
from vdnnsim.file_kinds import FileKind, is_own_timeline
from vdnnsim.profiler.recording import MODULE, STEP, Gathered, HostRange, Recording, Work
from vdnnsim.readers.chrome_events import EVENTS, ChromeEvents
from vdnnsim.readers.kinds import Imported, Reader, head_of
from vdnnsim.readers.kineto_step import step_of_recordings
from vdnnsim.readers.kineto_tables import tables_of
from vdnnsim.readers.tables_record import check_tables_writable
from vdnnsim.units import format_bytes, format_ms

_STEP_MARK = "ProfilerStep#"
_OPTIMISER_MARK = "Optimizer.step#"
_MODULE_MARK = "nn.Module: "
_MOST_STEPS = 8
_CPU, _CUDA = 0, 1
_OPEN, _COMPARE = "open {folder}/kernels.csv", "vdnnsim compare {folder} --gpu PROFILE"
_WITH = "torch.profiler.profile(profile_memory=True, ...)"


class _Trace(NamedTuple):
    """All of the file that is of use."""

    recording: Recording
    work: Sequence[Work]
    events: int
    gpu: str
    device: str
    peaks_bytes: tuple[int, int] | None
    """None where it says nothing of the device's memory."""


def _recognises(head: bytes) -> bool:
    begin = head.lstrip()
    named = b'"schemaVersion"' in begin or b'"traceEvents"' in begin
    return (begin.startswith(b"{") and named) or (begin.startswith(b"[") and b'"ph"' in begin)


def _gathered(path: Path) -> _Trace:
    events, gathered = ChromeEvents(path), Gathered()
    for event in events:
        try:
            if event.get("cat") == "python_function":
                if event["name"].startswith(_MODULE_MARK):
                    gathered.add_range(event, MODULE + event["name"].removeprefix(_MODULE_MARK), False)
            else:
                gathered.add(event)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            found = f"one without {error}" if isinstance(error, KeyError) else f"other data: {shown(str(error))}"
            raise events.fault(found, "an event as torch.profiler writes it") from None
    device = _CUDA if gathered.work else _CPU
    own = [one for one in gathered.memory if one.device[0] == device]
    index = Counter(one.device[1] for one in own).most_common(1)[0][0] if own else 0
    own = [one for one in own if one.device[1] == index]
    recording = gathered.recording(device, index)
    if not recording.ranges and not gathered.work:
        raise events.fault(f"{events.count} events, none of operators or kernels", f"a trace by {_WITH}")
    peaks = (max(one.total_bytes for one in own), max(one.reserved_bytes for one in own)) if own else None
    gpu = _gpu(events.told, index)
    return _Trace(recording, gathered.work, events.count, gpu, "cuda" if device else "cpu", peaks)


def _gpu(told: Mapping[str, Any], index: int) -> str:
    properties = told.get("deviceProperties")
    for one in properties if isinstance(properties, list) else ():
        if isinstance(one, Mapping) and one.get("id") == index and isinstance(one.get("name"), str):
            return str(one["name"]) or "unknown"
    return "cpu" if not properties else "unknown"


def _steps(recording: Recording) -> list[Recording]:
    """One recording for each step, the same but for which range is called the step: those that the user's profiler
    marked; where it marked none, what lies between the optimiser's, the last of them behind it; else the whole."""
    marked = [n for n, one in enumerate(recording.ranges) if one.name.startswith(_STEP_MARK)]
    found = []
    for number in marked[-_MOST_STEPS:]:
        ranges = list(recording.ranges)
        ranges[number] = ranges[number]._replace(name=STEP)
        found.append(_with(recording, ranges))
    if found:
        return found
    ranges = list(recording.ranges)
    begins_ns = [*(one.begin_ns for one in ranges), *(one.launch_begin_ns for one in recording.gpu_work)]
    ends_ns = [*(one.end_ns for one in ranges), *(one.launch_begin_ns for one in recording.gpu_work)]
    thread = ranges[0].thread if ranges else 0
    edges_ns = [min(begins_ns), *_ends_of_steps_ns(recording)[:-1], max(ends_ns) + 1]
    whole = [HostRange(STEP, False, *edges, thread, None, -1) for edges in pairwise(edges_ns)]
    return [_with(recording, [*ranges, one]) for one in whole[-_MOST_STEPS:]]


def _ends_of_steps_ns(recording: Recording) -> list[int]:
    """When the optimiser was done, each time, in a file that marks no steps; none in one that does."""
    if any(one.name.startswith(_STEP_MARK) for one in recording.ranges):
        return []
    return sorted(one.end_ns for one in recording.ranges if one.name.startswith(_OPTIMISER_MARK))


def _with(recording: Recording, ranges: list[HostRange]) -> Recording:
    window = next((one.begin_ns, one.end_ns) for one in ranges if one.name == STEP)
    work = [one for one in recording.gpu_work if window[0] <= one.launch_begin_ns < window[1]]
    waits = [one for one in recording.waits if window[0] <= one.begin_ns < window[1]]
    return Recording(ranges, recording.memory, work, waits, recording.hooked, recording.overheads)


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
    steps = len(_ends_of_steps_ns(trace.recording))
    unmarked = (
        f"where steps begin: cut behind each of {steps} Optimizer.step; where a step has several, give the profiler a "
        "schedule and call its step()",
    )
    several = (f"what waits for what on its {len(streams)} streams: all is put on one, in the order of launches",)
    return (
        "which tensors are saved and when each is needed: what lives from forward to backward is taken for saved, by "
        "the operator behind the one that made it and by that whose node lets it go, needed when their nodes begin",
        "what parameters, gradients and the optimiser's state are: what was there before is one block or a few",
        "the host's time without the profiler, and what hooks cost it: launches take what they took under it, hooks "
        "nothing",
        "sizes as asked for: blocks are as large as the allocator gave them, and it begins empty",
        *(unmarked if steps > 1 else ()),
        *(several if len(streams) > 1 else ()),
    )


_NO_MEMORY = f"blocks of memory and what backward needs of them: {_WITH} writes them, and then it is a step"


def read_kineto(path: Path) -> Imported:
    """A step; tables where the file has no blocks of memory. Raises `InvalidFile`, for a timeline of ours too."""
    if is_own_timeline(head_of(path)):
        found = f"{FileKind.TIMELINE} that vdnnsim wrote, for a viewer such as ui.perfetto.dev"
        raise InvalidFile([Fault(str(path), None, "file", found, READER.title)])
    trace = _gathered(path)
    steps = _steps(trace.recording)
    if trace.peaks_bytes is None:
        lacks = (_NO_MEMORY, *_lacks(trace)[2:3])
        tables, says = tables_of(steps[-1], trace.work, trace.device == "cuda", lacks)
        return Imported(tables, (f"{trace.events} events; the last of {len(steps)} steps", says), lacks, _OPEN)
    chosen = _with_equal_kernels(steps)
    name = path.name.partition(".")[0] or "step"
    try:
        step = step_of_recordings(name, trace.gpu, trace.device, chosen, trace.peaks_bytes)
    except InvalidFile:
        raise
    except InvalidInput as error:  # steps that differ, or a step that nothing can be made of
        raise InvalidFile([Fault(str(path), None, EVENTS, str(error), "a training step")]) from None
    return Imported(step, _says(trace, step, chosen, len(steps)), _lacks(trace), _COMPARE)


def _check_writable(folder: Path) -> None:
    """Which of the two it will be is not known before."""
    if is_step(folder):
        check_step_writable(folder)
    else:
        check_tables_writable(folder)


READER = Reader("kineto", "a trace of torch.profiler (Chrome JSON)", _recognises, read_kineto, _check_writable)
