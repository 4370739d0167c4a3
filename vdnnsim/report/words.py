"""Phrases that tables and figures share: what was simulated, and where its numbers are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vdnnsim.captured.interpolation import INTERPOLATED
from vdnnsim.captured.memory import unmodelled_allocator
from vdnnsim.metrics import binding
from vdnnsim.program import WeightGradients
from vdnnsim.results import Captured, Comparison, PolicyResult, PolicyRun
from vdnnsim.trace import CARRIED
from vdnnsim.trace import INTERPOLATED as BETWEEN
from vdnnsim.units import format_bytes, format_ms

if TYPE_CHECKING:
    from vdnnsim.bands import Band

_BYTE_UNITS = (("GB", 10**9), ("MB", 10**6), ("KB", 10**3))


def subject(comparison: Comparison) -> str:
    """What was compared, in one line; weight gradients are mentioned where they are not held as the paper's
    re-implementation does."""
    if comparison.captured:
        return _captured_subject(comparison, comparison.captured)
    gradients = comparison.weight_gradients
    return (
        f"{shortened(comparison.network, 48)}, batch {comparison.batch}, on {shortened(comparison.gpu, 32)} "
        f"({format_bytes(comparison.capacity_bytes)}), {comparison.math}, {comparison.pool} pool"
        + (f", weight gradients: {gradients}" if gradients != WeightGradients.PER_LAYER else "")
    )


def _captured_subject(comparison: Comparison, captured: Captured) -> str:
    setting = ", ".join(f"{name} {value}" for name, value in captured.header.setting.items())
    named = shortened(comparison.network, 48) + (f" ({shortened(setting, 64)})" if setting else "")
    return (
        f"{named}, captured on {shortened(comparison.gpu, 32)} ({format_bytes(comparison.capacity_bytes)}) with "
        f"PyTorch {captured.header.torch}" + ("" if captured.header.device == "cpu" else f", {comparison.pool} pool")
    )


def seen(captured: Captured) -> str:
    """What was measured of the step as it was captured, without hooks, or lies between what was."""
    step_ns, spread_ppm, requested, allocated, reserved = captured.seen
    peaks = (
        f"{format_bytes(requested)} requested, {format_bytes(allocated)} allocated, {format_bytes(reserved)} reserved"
    )
    interpolated = captured.header.conditions.get(INTERPOLATED)
    what = "Without offload, interpolated" if interpolated else "Measured without offload"
    told = [f"{what}: {format_ms(step_ns)} (spread {spread_ppm / 10_000:.1f} %), peak {peaks}"]
    if interpolated:
        told.append(f"Kernels and blocks {interpolated.removesuffix('.')}")
    if unmodelled := unmodelled_allocator(captured.header):
        told.append(f"Not as measured: {unmodelled}")
    return "\n".join(told)


def link(comparison: Comparison) -> str:
    """What large copies reach in each direction, and where it is known what pinning the host's memory takes."""
    out, back = comparison.copy_out_bytes_per_s, comparison.copy_in_bytes_per_s
    told = f"Link: {format_bytes(out)}/s out, {format_bytes(back)}/s in"
    longest = max(comparison.results, key=lambda result: result.pinning_time_ns, default=None)
    if longest is None or not longest.pinning_time_ns:
        return told
    once = f"{longest.pinning_time_ns / 1e9:.1f} s before training ({longest.policy})"
    return f"{told}; pinning {format_bytes(longest.pinned_host_bytes)} takes {once}"


def provenance(comparison: Comparison) -> str:
    """The weakest label of all numbers used, how much of the kernel time has which label, and whether the trace could
    be of another network."""
    times: dict[str, int] = {}
    for result in comparison.results:
        for label, time_ns in result.kernel_time_ns_by_provenance.items():
            times[label] = times.get(label, 0) + time_ns
    total_ns = sum(times.values())
    shares = ", ".join(f"{100 * time_ns / total_ns:.0f} % {label}" for label, time_ns in times.items() if time_ns)
    unchecked = "" if comparison.origin.trace_checked else "; trace unchecked: it does not say of which layers it is"
    told = f"Provenance: {comparison.provenance.value}" + (f" (kernel time: {shares})" if shares else "") + unchecked
    return "\n".join((told, *_untimed(comparison)))


def _untimed(comparison: Comparison) -> list[str]:
    """How a network's trace came about that nobody timed as it is: it lies between two, or is another GPU's."""
    if comparison.captured:
        return []
    return [text for source, text in comparison.sources.items() if source in (BETWEEN, CARRIED)]


def byte_unit(largest_bytes: int) -> tuple[str, int]:
    """The unit, with its bytes, of columns or an axis that go up to so many bytes."""
    return next(((name, size) for name, size in _BYTE_UNITS if largest_bytes >= size // 10), _BYTE_UNITS[-1])


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def what_binds(result: PolicyResult) -> str:
    """What binds, in a word or two: "link", or the memory that a policy which does not train would need."""
    if not result.trainable:
        return result.needs
    if result.pace and result.pace.bound:
        return "host"
    return binding(result.spent, result.loss, one_way=result.pace is not None)


def band_ms(band: Band, decimals: int) -> str:
    """Such as "129.6 to 130.9": both ends in milliseconds."""
    return f"{band.low_ns / 1e6:.{decimals}f} to {band.high_ns / 1e6:.{decimals}f}"


def distances(comparison: Comparison) -> list[tuple[str, str]]:
    """By policy, how far it is over the oracle, how far any must be and how far the optimum is, in percent of the
    oracle's iteration; nothing where no optimum was sought."""
    best = next((run for run in comparison.runs if run.plan.bound), None)
    if best is None or best.plan.bound is None:
        return []
    needed = best.plan.bound.bound_ns / _oracle_ns(best.result) - 1
    found = _over(best.result)
    lines = []
    for run in comparison.runs:
        if run.plan.endless or not run.result.trainable:
            continue
        over = f"{100 * _over(run.result):.1f} % over the oracle; at least {100 * max(0.0, needed):.1f} % is needed"
        if run.plan.schedule.compression:
            found_over = f"{100 * _over(run.result):.1f} % over the oracle"
            lines.append((run.result.policy, f"{found_over}; its copies are compressed, which the bound leaves out"))
            continue
        least, most = (100 * (_over(run.result) - share) for share in (found, needed))
        gain = f"; {_points(least, most)} to gain" if run is not best else _of_plan(best)
        lines.append((run.result.policy, over + gain))
    return lines


def _points(least: float, most: float) -> str:
    """Points of percent, those that a plan gains and those that the bound leaves open."""
    low, high = f"{max(0.0, least):.1f}", f"{max(0.0, most):.1f}"
    return f"{high} points" if low == high else f"{low} to {high} points"


def _of_plan(run: PolicyRun) -> str:
    """What the model said of the optimum's plan."""
    bound = run.plan.bound
    assert bound is not None
    if bound.model_ns is None:
        return "; found without the solver"
    off = 100 * (run.result.iteration_time_ns / bound.model_ns - 1)
    return f"; the model said {format_ms(bound.model_ns)} ({off:+.1f} %)"


def _over(result: PolicyResult) -> float:
    return 1 / result.performance - 1


def _oracle_ns(result: PolicyResult) -> float:
    return result.iteration_time_ns * result.performance
