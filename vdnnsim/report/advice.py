"""An advice in five lines: does it fit, how far does each policy reach, does it pay, where that flips, what to set."""

from __future__ import annotations

import shlex

from vdnnsim.advice.records import Advice, FittingPlan, Reach, ValueFlip, fastest_without_offload
from vdnnsim.captured.captures import BATCH
from vdnnsim.report.words import shortened, what_binds
from vdnnsim.units import format_bytes, format_ms

HEADINGS = ("Fits?", "How far", "Pays?", "Flips", "Set")
"""What each line answers."""


def advice_text(advice: Advice) -> str:
    """The subject, the five lines and where the numbers are from, unwrapped."""
    lines = [f"{heading:<8} {words}" for heading, words in advice_lines(advice)]
    return "\n".join([advice_subject(advice), *lines, advice_note(advice)])


def advice_subject(advice: Advice) -> str:
    """What is asked about."""
    at = "" if advice.value is None else f", {advice.varied} {advice.value}"
    out, back = (format_bytes(rate) for rate in (advice.copy_out_bytes_per_s, advice.copy_in_bytes_per_s))
    return (
        f"{shortened(advice.network, 48)}{at}, on {shortened(advice.gpu, 32)} "
        f"({format_bytes(advice.capacity_bytes)}; link {out}/s out, {back}/s in)"
    )


def advice_note(advice: Advice) -> str:
    """The weakest label of the numbers, and what was interpolated."""
    note = f"Provenance: {advice.provenance.value}"
    if advice.between:
        note += f"; {advice.varied} {advice.value} was not timed: its kernels are interpolated, as all with a ~"
    elif advice.error:
        note += f"; ~: interpolated between what was timed, {advice.error}"
    return note


def advice_lines(advice: Advice) -> list[tuple[str, str]]:
    """Each heading with its line."""
    words = (_fits(advice), _far(advice), _pays(advice), _flips(advice), _set(advice))
    return list(zip(HEADINGS, words, strict=True))


def rate_words(units_per_s: float | None, unit: str = "") -> str:
    """How many are trained in a second."""
    beside = f" {unit}/s" if unit else "/s"
    if units_per_s is None:
        return f"?{beside}"
    return f"{units_per_s:.1f}{beside}" if units_per_s < 1000 else f"{units_per_s:.0f}{beside}"


def reach_words(reach: Reach | ValueFlip) -> str:
    """A largest batch, or another value, with a ~ where it is interpolated."""
    return "none" if reach.value is None else f"{'~' if reach.interpolated else ''}{reach.value}"


def _fits(advice: Advice) -> str:
    plan = advice.baseline
    needs = f"{plan.policy} needs {format_bytes(plan.budget_bytes)} of {format_bytes(advice.capacity_bytes)}"
    if advice.fits:
        return f"yes: {needs} and trains {_speed(advice, plan)}"
    best = "no policy fits" if advice.best is None else f"{advice.best.policy} fits in {_budget(advice.best)}"
    return f"no: {needs}; {best}"


def _far(advice: Advice) -> str:
    if advice.missing:
        return f"not known: missing are {advice.missing}"
    rates = (f" ({rate_words(reach.units_per_s)})" if reach.units_per_s else "" for reach in advice.reaches)
    told = [f"{one.policy} {reach_words(one)}{rate}" for one, rate in zip(advice.reaches, rates, strict=True)]
    return f"largest {advice.varied} ({advice.unit}/s): {', '.join(told)}"


def _pays(advice: Advice) -> str:
    best, other, at = advice.best, advice.alternative, f"{advice.varied} {advice.value}"
    reached = ""
    if other is not None:
        rate = rate_words(other.units_per_s, advice.unit)
        reached = f"{other.policy} at {advice.varied} {reach_words(other)}, the largest that fits, {rate}"
    if best is None:
        return "no: nothing fits" + (f" at {at}; {reached}" if reached else "")
    if not best.offloads:
        by_layer = f"{best.policy} trains {_speed(advice, best)} without offload, handing memory out layer by layer"
        return f"no need: {'it fits' if best == advice.baseline else by_layer}, and nothing that offloads is faster"
    own = f"{best.policy} at {at} trains {_speed(advice, best)}"
    loss = f"{100 * (1 - best.result.performance):.1f} % under a GPU with endless memory"
    if reached:
        return f"{'yes' if advice.pays else 'no'}: {own}; {reached}"
    if advice.fits:
        return f"yes: {own}, {advice.baseline.policy} {_speed(advice, advice.baseline)}"
    if advice.reaches:
        return f"yes: {own}, {loss}; {_without(advice)}"
    return f"where this {advice.varied} is needed: {own}, {loss}; beside smaller ones without offload: not known"


def _without(advice: Advice) -> str:
    reach = fastest_without_offload(advice.reaches)
    if reach is None:
        return f"no {advice.varied} that was timed fits without"
    rate = rate_words(reach.units_per_s, advice.unit)
    return f"without, {advice.varied} {reach_words(reach)} is the largest that fits ({rate})"


def _flips(advice: Advice) -> str:
    least, step, without = advice.capacity
    flips = [f"memory: as it is from {format_bytes(without)}"]
    searched = f"to {format_bytes(step)}" if step else "all fetched in time"
    flips[0] += f", with offload from {format_bytes(least)} ({searched})"
    if flip := advice.flip:
        does = "pays" if advice.varied == BATCH else "is needed"
        told = f"{flip.policy} {does} from {reach_words(flip)}" if flip.value else f"offloading {does} at none"
        flips.append(f"{advice.varied}: {told}")
    return "; ".join([*flips, f"link: {_link(advice)}"])


def _link(advice: Advice) -> str:
    link = advice.link
    if link is None:
        return "none, nothing is copied"
    policy = advice.best.policy if advice.best else ""
    if link.reach is None:
        beside = f"within {100 * link.loss:g} % of endless memory"
    elif link.reach.value is None:
        beside = f"as fast as {link.reach.policy}"
    else:
        beside = f"as fast as {link.reach.policy} at {advice.varied} {reach_words(link.reach)}"
    if link.bytes_per_s is None:
        return f"no link makes {policy} {beside}: {link.note}"
    return f"{policy} is {beside} from {link.bytes_per_s / 1e9:.1f} GB/s ({link.note})"


def _set(advice: Advice) -> str:
    best, other, asked = advice.best, advice.alternative, advice.value
    if advice.pays is False and other is not None:
        told = f"{other.policy} at {advice.varied} {other.value}, gradients summed over several where {asked} is meant"
        if best is None:
            return told
        return f"{told}; {best.policy} only where all of {asked} must be at once ({_needs(best)})"
    if best is None:
        return f"a smaller {advice.varied}, or a GPU with more memory"
    if not best.offloads:
        return f"{best.policy}: no offload, no pinned memory; binds: {what_binds(best.result)}"
    told = f"{best.policy}, {_needs(best)}; binds: {what_binds(best.result)}"
    if advice.step:
        told += f"; {plan_command(advice, best)}"
    elif advice.between and advice.unit != "images":
        told += f"; for a plan capture {advice.varied} {asked}"
    return told


def plan_command(advice: Advice, plan: FittingPlan) -> str:
    """What writes the plan that training takes."""
    words = ["vdnnsim", "plan", advice.step, "--gpu", advice.gpu_named, "--policy", plan.policy]
    return shlex.join([*words, "--capacity", f"{plan.budget_bytes}B", "--out", "plan.json"])


def _needs(plan: FittingPlan) -> str:
    pinned = format_bytes(plan.result.pinned_host_bytes)
    ahead = f"fetched up to {plan.ahead} ahead" if plan.ahead else "fetched when needed"
    return f"made for {_budget(plan)}, {ahead}, {pinned} of pinned host memory"


def _budget(plan: FittingPlan) -> str:
    return format_bytes(plan.budget_bytes)


def _speed(advice: Advice, plan: FittingPlan) -> str:
    rate = advice.units_per_s(plan)
    return (
        f"an iteration in {format_ms(plan.result.iteration_time_ns)}" if rate is None else rate_words(rate, advice.unit)
    )
