"""The answer in words, from a comparison alone: does it fit, what is best here, what does that cost and need?"""

from __future__ import annotations

from vdnnsim.results import Comparison, PolicyResult, PolicyRun
from vdnnsim.units import format_bytes, format_ms

COSTS = "Costs"


def answer_of(comparison: Comparison) -> list[tuple[str, str]]:
    """Headings, each with its line."""
    able = [run for run in comparison.runs if not run.plan.endless] or list(comparison.runs)
    staying = [run for run in able if not (run.plan.schedule.actions or run.plan.schedule.own_copies)]
    trained = [run.result for run in able if run.result.trainable]
    told = [("Fits without offload?", _fits(comparison, [run.result for run in staying]))] if staying else []
    if not trained:
        least = min((run.result for run in able), key=lambda result: result.needed_bytes)
        needed = format_bytes(least.needed_bytes)
        if len(able) > 1:
            told.append(("Best here", f"none trains; {least.policy} needs least, {needed}"))
        else:
            told.append(("Trains?", f"no: it needs {needed}, there are {format_bytes(comparison.capacity_bytes)}"))
        return [*told, ("Why not", least.reason)]
    best = min(trained, key=lambda result: result.iteration_time_ns)
    told.append(("Best here" if len(able) > 1 else "Trains?", _best(comparison, best, staying, len(able) > 1)))
    told.append((COSTS, f"{best.policy}: {_costs(best)}" if len(able) > 1 else _costs(best)))
    told.append(("Needs", _needs(comparison, best)))
    return told


def _fits(comparison: Comparison, staying: list[PolicyResult]) -> str:
    fitting = [result for result in staying if result.trainable]
    capacity = format_bytes(comparison.capacity_bytes)
    if fitting:
        best = min(fitting, key=lambda result: result.iteration_time_ns)
        return f"yes: {best.policy} takes {format_ms(best.iteration_time_ns)} and {format_bytes(best.peak_bytes)}"
    least = min(staying, key=lambda result: result.needed_bytes)
    return f"no: {least.policy} needs {format_bytes(least.needed_bytes)}, there are {capacity}"


def _best(comparison: Comparison, best: PolicyResult, staying: list[PolicyRun], several: bool) -> str:
    rate = comparison.units_per_s(best)
    speed = f"{format_ms(best.iteration_time_ns)} an iteration" + (f", {rate:.1f} samples/s" if rate else "")
    told = f"{best.policy}, {speed}" if several else f"yes: {speed}"
    others = [run.result for run in staying if run.result.trainable and run.result is not best]
    if others and best.offloaded_bytes:
        other = min(others, key=lambda result: result.iteration_time_ns)
        told += f"; without offload {other.policy} takes {format_ms(other.iteration_time_ns)}"
    return told


def _costs(best: PolicyResult) -> str:
    if not best.loss.total_ns:
        return "nothing against a GPU whose memory is endless"
    share = 100 * (1 - best.performance)
    told = f"{share:.1f} %" if share >= 0.05 else "less than 0.1 %"
    return f"{told} against a GPU whose memory is endless: {best.verdict}"


def _needs(comparison: Comparison, best: PolicyResult) -> str:
    told = f"{format_bytes(best.peak_bytes)} of {format_bytes(comparison.capacity_bytes)} of device memory"
    if not best.offloaded_bytes:
        return f"{told}; no pinned host memory, nothing is copied"
    moved = format_bytes(best.offloaded_bytes)
    return f"{told}, {format_bytes(best.pinned_host_bytes)} of pinned host memory; {moved} leave and come back"
