"""Time per step and per layer: kernels, copies, stalls, reuse distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vdnnsim.timeline import COPY_OUT, Timeline


class StepTime(NamedTuple):
    """One layer's forward or backward. `stall_ns` is how long the compute engine stood still for copies that this step
    waited for; `overhead_ns` is what neither kernels nor stalls explain: the host's calls and waits."""

    layer: str
    backward: bool
    in_classifier: bool
    begin_ns: int
    end_ns: int
    kernel_ns: int
    stall_ns: int
    copied_out_bytes: int
    copied_in_bytes: int

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.begin_ns

    @property
    def overhead_ns(self) -> int:
        return self.duration_ns - self.kernel_ns - self.stall_ns


class StepName(NamedTuple):
    """Which layer's forward or backward a step is; the program's steps without their commands."""

    layer: str
    backward: bool
    in_classifier: bool


def step_times(timeline: Timeline, names: Sequence[StepName]) -> tuple[StepTime, ...]:
    """The times of every step, in the order in which they ran."""
    kernel_ns = [0] * len(names)
    stall_ns = [0] * len(names)
    copied_out = [0] * len(names)
    copied_in = [0] * len(names)
    for kernel in timeline.kernels:
        kernel_ns[kernel.step] += kernel.end_ns - kernel.begin_ns
    for stall in timeline.stalls:
        stall_ns[stall.step] += stall.duration_ns
    for copy in timeline.copies:
        (copied_out if copy.direction == COPY_OUT else copied_in)[copy.step] += copy.size_bytes
    times = []
    begin_ns = 0
    for index, (name, end_ns) in enumerate(zip(names, timeline.step_ends_ns, strict=True)):
        times.append(
            StepTime(*name, begin_ns, end_ns, kernel_ns[index], stall_ns[index], copied_out[index], copied_in[index])
        )
        begin_ns = end_ns
    return tuple(times)


def reuse_distances_ns(times: Sequence[StepTime]) -> dict[str, int]:
    """By layer, how long its X is not needed: from the end of its forward to the start of its backward, of a layer with
    several of them from the last to the first. None for one that has not both."""
    forward_ends = {time.layer: time.end_ns for time in times if not time.backward}
    backward_begins = {time.layer: time.begin_ns for time in reversed(times) if time.backward}
    return {
        layer: max(0, begin_ns - forward_ends[layer])
        for layer, begin_ns in backward_begins.items()
        if layer in forward_ends
    }
