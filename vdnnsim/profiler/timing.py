"""Times of kernels and launches, from steps that were profiled for nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from vdnnsim.calibration.samples import sample
from vdnnsim.profiler.order import check_same, check_same_operators
from vdnnsim.profiler.recording import STEP, GpuWork, Recording


class KernelTimes(NamedTuple):
    """As in `ModelKernel`."""

    duration_ns: int
    spread_ppm: int
    launch_ns: int
    gap_ns: int


class _Run(NamedTuple):
    """One light step: of each kernel how long it ran, what the host took for it, and the gap before it; None where it
    was launched late, and the gap is the host's."""

    durations_ns: list[int]
    launches_ns: list[int]
    gaps_ns: list[int | None]


def gpu_times(light: Sequence[Recording], names: Sequence[str], host_scale: float) -> list[KernelTimes]:
    """Of kernels on a GPU; the host's times are divided by how much longer it took under the profiler."""
    return _medians([_gpu_run(one, names) for one in light], host_scale)


def _gpu_run(light: Recording, names: Sequence[str]) -> _Run:
    work = light.gpu_work
    check_same([one.name for one in work], names, "a step that was timed", "kernel")
    waits = sorted((one.begin_ns, one.end_ns) for one in light.waits)
    first = work[0].launch_begin_ns
    ended_ns = max((end for _, end in waits if end <= first), default=first)
    waits += ((one.begin_ns, one.end_ns) for one in light.overheads)
    launches, gaps = [], []
    before: GpuWork | None = None
    for one in work:
        waited = sum(end - begin for begin, end in waits if ended_ns <= begin and end <= one.launch_end_ns)
        launches.append(max(0, one.launch_end_ns - ended_ns - waited))
        in_time = before is not None and one.launch_end_ns <= before.end_ns
        gaps.append(max(0, one.begin_ns - before.end_ns) if before is not None and in_time else None)
        ended_ns, before = one.launch_end_ns, one
    launches[0] = max(0, launches[0] - _buffers_ns(work))
    return _Run([one.end_ns - one.begin_ns for one in work], launches, gaps)


def _buffers_ns(work: Sequence[GpuWork]) -> int:
    """How much longer the first launch's call takes than the usual one: within it the profiler takes its buffers."""
    calls_ns = [one.launch_end_ns - one.launch_begin_ns for one in work]
    return max(0, calls_ns[0] - round(median(calls_ns)))


def host_times(
    light: Sequence[Recording], names: Sequence[str], kernels: Sequence[int], step_ns: int
) -> list[KernelTimes]:
    """Of operators that the host runs. Its time between two of them is the gap before the second: it does one thing at
    a time. All are scaled so that together they take no longer than `step_ns`, as without profiler."""
    runs = []
    for one in light:
        window = one.window(STEP)
        operators = check_same_operators(one, window, names, "a step that was timed")
        ranges = [one.ranges[operators[place]] for place in kernels]
        ended_ns, gaps = window[0], []
        for kernel in ranges:
            gaps.append(max(0, kernel.begin_ns - ended_ns))
            ended_ns = max(ended_ns, kernel.end_ns)
        runs.append(_Run([kernel.end_ns - kernel.begin_ns for kernel in ranges], gaps, list(gaps)))
    times = _medians(runs, 1.0)
    scale = min(1.0, step_ns / max(1, sum(one.duration_ns + one.gap_ns for one in times)))
    return [
        KernelTimes(
            round(one.duration_ns * scale), one.spread_ppm, round(one.gap_ns * scale), round(one.gap_ns * scale)
        )
        for one in times
    ]


def _medians(runs: Sequence[_Run], host_scale: float) -> list[KernelTimes]:
    usual = [gap for run in runs for gap in run.gaps_ns if gap is not None]
    usual_ns = round(median(usual)) if usual else 0
    found = []
    for place in range(len(runs[0].durations_ns)):
        duration = sample(run.durations_ns[place] for run in runs)
        launch_ns = round(median(run.launches_ns[place] for run in runs) * host_scale)
        gaps = [gap for run in runs if (gap := run.gaps_ns[place]) is not None]
        gap_ns = round(median(gaps)) if gaps else usual_ns
        found.append(KernelTimes(duration.median_ns, duration.spread_ppm, launch_ns, gap_ns))
    return found
