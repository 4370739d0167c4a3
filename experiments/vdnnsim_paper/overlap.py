"""Figure 9: when the kernels and copies of a few layers ran, with and without offloading."""

from __future__ import annotations

from collections.abc import Iterator

from vdnnsim import COPY_OUT, PolicyRun
from vdnnsim_paper.bars import LEFT, Bar
from vdnnsim_paper.bench import BASELINE, Bench
from vdnnsim_paper.config import FigureFile

COMPUTE, MEMORY, WASTED = "stream_compute", "stream_memory", "wasted"
_SHORT = {"backward_filter": "BWD(dW)", "backward_data": "BWD(dX)", "backward": "BWD", "forward": "FWD"}


def overlap(bench: Bench, file: FigureFile) -> Iterator[Bar]:
    """Each kernel, copy and stall of the file's layers as two bars, its begin and its duration in ms. Time counts from
    the first of these layers' forward, and from the last one's backward. A group is "forward" or "backward", then the
    policy and the stream."""
    for policy in (BASELINE, *file.policies):
        run = bench.run(policy)
        for backward in (False, True):
            steps = [
                index for index, step in enumerate(run.steps) if step.layer in file.layers and step.backward == backward
            ]
            yield from _spans(run, policy, steps, "backward" if backward else "forward")


def _spans(run: PolicyRun, policy: str, steps: list[int], direction: str) -> Iterator[Bar]:
    wanted = set(steps)
    start_ns = min(record.begin_ns for record in run.timeline.kernels if record.step in wanted)
    starts = [copy.begin_ns for copy in run.timeline.copies if copy.step in wanted]
    start_ns = min([start_ns, *starts])
    trains = run.result.trainable

    def span(lane: str, label: str, begin_ns: int, end_ns: int) -> Iterator[Bar]:
        group = f"{direction} | {policy} | {lane}"
        yield Bar(group, label, "begin", LEFT, (begin_ns - start_ns) / 1e6, "ms", trains)
        yield Bar(group, label, "duration", LEFT, (end_ns - begin_ns) / 1e6, "ms", trains)

    for kernel in run.timeline.kernels:
        if kernel.step in wanted:
            yield from span(COMPUTE, f"{_SHORT.get(kernel.pass_, kernel.pass_)} {kernel.layer}", *kernel[4:6])
    for copy in run.timeline.copies:
        if copy.step in wanted:
            verb = "OFF" if copy.direction == COPY_OUT else "PRE"
            source = copy.buffer.removeprefix("map:")
            yield from span(MEMORY, f"{verb} {source}", copy.begin_ns, copy.end_ns)
    for stall in run.timeline.stalls:
        if stall.step in wanted:
            yield from span(WASTED, f"stall {run.steps[stall.step].layer}", stall.begin_ns, stall.end_ns)
