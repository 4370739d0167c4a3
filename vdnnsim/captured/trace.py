"""The timings of a captured step as the simulated machine has them: a row for each kernel, the costs of hooks."""

from __future__ import annotations

from vdnnsim.captured.agenda import (
    HOOK,
    HOOK_COPY_IN,
    HOOK_COPY_OUT,
    HOOK_STREAM_WAIT,
    STEP_BEGINS,
    STEP_ENDS,
    WAITED_COPY,
    unpinned_copy,
)
from vdnnsim.captured.interpolation import INTERPOLATED
from vdnnsim.captured.iteration import kernel_keys
from vdnnsim.captured.step import CapturedStep
from vdnnsim.gpu import HostCosts
from vdnnsim.trace import Provenance, RowSpread, Trace, TraceHeader, TraceRow
from vdnnsim.units import PPM

LAUNCH_TO_BEGIN_NS = 3_000
"""From the end of a launch to the begin of its kernel on an idle GPU. Measured on H200 and H100 (docs/pytorch.md)."""
SOURCE = "capture"
POWER_CAP = "clocks by power cap"
"""How a capture's conditions say that the card's power held its clocks down."""


def trace_of_step(step: CapturedStep) -> Trace:
    """The step's trace; made once.

    A kernel's duration has the gap before it, in which the GPU does nothing else: a kernel that is launched in time
    begins that much after the one before. On an idle GPU it begins `LAUNCH_TO_BEGIN_NS` after its launch, whatever the
    gap.
    """
    if "trace" not in step.made:
        step.made["trace"] = _trace(step)
    found = step.made["trace"]
    assert isinstance(found, Trace)
    return found


def uninterrupted_ppm(step: CapturedStep) -> int:
    """How long kernels take, in millionths of what was captured of them, in a step that no copy interrupts. Of a card
    whose power holds its clocks down they were timed in steps between which it rested; the whole step, which the
    capture timed as well, tells by how much they are slower where it does not."""
    if POWER_CAP not in step.header.conditions.get("clocks", "") or not step.kernels:
        return PPM
    first = step.kernels[0]
    rested_ns = sum(kernel.gap_ns + kernel.duration_ns for kernel in step.kernels)
    kernels_ns = step.seen.step_ns - (first.launch_ns + LAUNCH_TO_BEGIN_NS - first.gap_ns)
    return max(PPM, PPM * kernels_ns // max(1, rested_ns))


def _trace(step: CapturedStep) -> Trace:
    begin_ns = LAUNCH_TO_BEGIN_NS if step.header.device == "cuda" else 0
    header = step.header
    captured = INTERPOLATED not in header.conditions
    label, source = (Provenance.MEASURED, SOURCE) if captured else (Provenance.MODELLED, INTERPOLATED)
    batch = header.setting.get("batch", 1)
    trace_header = TraceHeader(
        header.gpu,
        header.name,
        batch if isinstance(batch, int) else 1,
        "as captured",
        sources={source: header.conditions.get(INTERPOLATED, f"Captured with PyTorch {header.torch}.")},
        conditions=header.conditions,
    )
    rows = [
        TraceRow(
            *key,
            kernel.name,
            kernel.gap_ns + kernel.duration_ns,
            0,
            PPM,
            PPM,
            label,
            source,
            kernel.launch_ns,
            max(0, kernel.launch_ns + begin_ns - kernel.gap_ns),
            RowSpread(kernel.spread_ppm, 0, 0, 0),
            kind=kernel.kind,
        )
        for key, kernel in zip(kernel_keys(step), step.kernels, strict=True)
    ]
    return Trace(trace_header, rows)


def host_of_step(step: CapturedStep, host: HostCosts) -> HostCosts:
    """The costs of the host's calls in this step. Launches have theirs in the trace, with all that the host does
    between them, and hooks were measured with the calls in them; waiting, and how soon a copy begins, are the
    profile's."""
    call_ns, copy_out_ns, copy_in_ns, stream_wait_ns = step.hooks
    return HostCosts(
        synchronise_ns=host.synchronise_ns,
        copy_start_ns=host.copy_start_ns,
        stream_start_ns=host.stream_start_ns,
        pinning=host.pinning,
        updates_per_s=host.updates_per_s,
        calls_ns={
            HOOK: call_ns,
            HOOK_COPY_OUT: copy_out_ns,
            HOOK_COPY_IN: copy_in_ns,
            HOOK_STREAM_WAIT: stream_wait_ns,
            **_waits_ns(step),
        },
    )


def _waits_ns(step: CapturedStep) -> dict[str, int]:
    waits = step.waits
    if waits is None:
        return {WAITED_COPY: step.hooks.copy_out_ns}
    sizes = {saved.size_bytes for saved in step.saved if not saved.without_gaps}
    return {
        STEP_BEGINS: waits.begin_ns,
        STEP_ENDS: waits.end_ns,
        WAITED_COPY: waits.copy_ns,
        **{unpinned_copy(size_bytes): waits.longer_ns(size_bytes) for size_bytes in sizes},
    }
