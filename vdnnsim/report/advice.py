"""An advice in five lines: does it fit, how far does each policy reach, does it pay, where that flips, what to set."""

from __future__ import annotations

import shlex

from vdnnsim.advice.records import Advice, FittingPlan, Reach
from vdnnsim.report.words import shortened, what_binds
from vdnnsim.units import format_bytes, format_ms

HEADINGS = ("Fits?", "Largest batch", "Pays?", "Flips", "Set")
"""What each line answers."""


def advice_text(advice: Advice) -> str:
    """The subject, the five lines and where the numbers are from, unwrapped."""
    lines = [f"{heading:<13}  {words}" for heading, words in advice_lines(advice)]
    return "\n".join([advice_subject(advice), *lines, advice_note(advice)])


def advice_subject(advice: Advice) -> str:
    """What is asked about."""
    batch = "" if advice.batch is None else f", batch {advice.batch}"
    out, back = (format_bytes(rate) for rate in (advice.copy_out_bytes_per_s, advice.copy_in_bytes_per_s))
    return (
        f"{shortened(advice.network, 48)}{batch}, on {shortened(advice.gpu, 32)} "
        f"({format_bytes(advice.capacity_bytes)}; link {out}/s out, {back}/s in)"
    )


def advice_note(advice: Advice) -> str:
    """The weakest label of the numbers, and what was interpolated."""
    note = f"Provenance: {advice.provenance.value}"
    if advice.between:
        note += f"; batch {advice.batch} was not timed: its kernels are interpolated, as those of batches with a ~"
    elif any(reach.interpolated for reach in advice.reaches):
        note += f"; ~: interpolated between batches that were timed, {_error(advice.reaches)}"
    return note


def advice_lines(advice: Advice) -> list[tuple[str, str]]:
    """Each heading with its line."""
    words = (_fits(advice), _largest(advice), _pays(advice), _flips(advice), _set(advice))
    return list(zip(HEADINGS, words, strict=True))


def rate_words(units_per_s: float | None) -> str:
    """How many are trained in a second."""
    return "?/s" if units_per_s is None else f"{units_per_s:.1f}/s" if units_per_s < 1000 else f"{units_per_s:.0f}/s"


def reach_words(reach: Reach) -> str:
    """A largest batch, with a ~ where it is interpolated."""
    return "none" if reach.batch is None else f"{'~' if reach.interpolated else ''}{reach.batch}"


def _fits(advice: Advice) -> str:
    plan = advice.baseline
    needs = f"{plan.policy} needs {format_bytes(plan.budget_bytes)} of {format_bytes(advice.capacity_bytes)}"
    if advice.fits:
        return f"yes: {needs} and trains {_speed(advice, plan)}"
    best = "no policy fits" if advice.best is None else f"{advice.best.policy} fits in {_budget(advice.best)}"
    return f"no: {needs}; {best}"


def _largest(advice: Advice) -> str:
    if advice.missing:
        return f"not known: missing are {advice.missing}"
    told = [f"{reach.policy} {reach_words(reach)} ({rate_words(reach.units_per_s)})" for reach in advice.reaches]
    return ", ".join(told)


def _pays(advice: Advice) -> str:
    best, other = advice.best, advice.alternative
    reached = ""
    if other is not None:
        reached = (
            f"{other.policy} at batch {reach_words(other)}, the largest that fits, {rate_words(other.units_per_s)}"
        )
    if best is None:
        return "no: nothing fits" + (f" at batch {advice.batch}; {reached}" if reached else "")
    if not best.offloads:
        return "no need: it fits, and nothing that offloads is faster"
    own = f"{best.policy} at batch {advice.batch} trains {_speed(advice, best)}"
    loss = f"{100 * (1 - best.result.performance):.1f} % under a GPU with endless memory"
    if reached:
        return f"{'yes' if advice.pays else 'no'}: {own}; {reached}"
    if advice.reaches:
        return f"yes: {own}, {loss}; no batch that was timed fits without"
    if advice.fits:
        return f"yes: {own}, {advice.baseline.policy} {_speed(advice, advice.baseline)}"
    return f"where this batch is needed: {own}, {loss}; beside smaller batches without offload: not known"


def _flips(advice: Advice) -> str:
    least, step, without = advice.capacity
    memory = f"memory: without offload from {format_bytes(without)}"
    searched = f"to {format_bytes(step)}" if step else "all fetched in time"
    memory += f", with offload from {format_bytes(least)} ({searched})"
    link = advice.link
    if link is None:
        return f"{memory}; link: none, nothing is copied"
    policy = advice.best.policy if advice.best else ""
    if link.reach is None:
        beside = f"within {100 * link.loss:g} % of endless memory"
    else:
        beside = f"as fast as {link.reach.policy} at batch {reach_words(link.reach)}"
    found = f"no link makes {policy} {beside}: {link.note}"
    if link.bytes_per_s is not None:
        found = f"{policy} is {beside} from {link.bytes_per_s / 1e9:.1f} GB/s ({link.note})"
    return f"{memory}; link: {found}"


def _set(advice: Advice) -> str:
    best, other = advice.best, advice.alternative
    if advice.pays is False and other is not None:
        told = f"{other.policy} at batch {other.batch}, gradients summed over several where {advice.batch} is meant"
        if best is None:
            return told
        return f"{told}; {best.policy} only where all of {advice.batch} must be at once ({_needs(best)})"
    if best is None:
        return "a smaller batch, or a GPU with more memory"
    if not best.offloads:
        return f"{best.policy}: no offload, no pinned memory; binds: {what_binds(best.result)}"
    told = f"{best.policy}, {_needs(best)}; binds: {what_binds(best.result)}"
    if advice.step and not advice.between:
        told += f"; {plan_command(advice, best)}"
    elif advice.step:
        told += f"; for a plan capture batch {advice.batch}"
    return told


def plan_command(advice: Advice, plan: FittingPlan) -> str:
    """What writes the plan that training takes."""
    words = ["vdnnsim", "plan", advice.step, "--gpu", advice.gpu_named, "--policy", plan.policy]
    return shlex.join([*words, "--capacity", f"{plan.budget_bytes}B", "--out", "plan.json"])


def _needs(plan: FittingPlan) -> str:
    return f"made for {_budget(plan)}, {format_bytes(plan.result.pinned_host_bytes)} of pinned host memory"


def _budget(plan: FittingPlan) -> str:
    return format_bytes(plan.budget_bytes)


def _speed(advice: Advice, plan: FittingPlan) -> str:
    rate = advice.units_per_s(plan)
    return f"an iteration in {format_ms(plan.result.iteration_time_ns)}" if rate is None else rate_words(rate)


def _error(reaches: tuple[Reach, ...]) -> str:
    note = next(reach.note for reach in reaches if reach.interpolated)
    return note.partition(", ")[2]
