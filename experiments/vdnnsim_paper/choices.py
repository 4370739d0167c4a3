"""Which of the rules that the paper leaves open agree with its numbers: each choice is changed alone, and every claim
is compared again. Nothing here is tuned: the choices are those that the paper's text allows."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from vdnnsim_paper.claims import Claim, compare_claims, distance, is_near, tolerance
from vdnnsim_paper.config import Rules, rules
from vdnnsim_paper.runs import Progress, all_figures, available_figures, measure, plan_jobs, workers
from vdnnsim_paper.table import with_unit

GIB = 2**30 / 10**9


class Choice(NamedTuple):
    """One rule otherwise. `unit_factor` divides claims in GB, for GiB."""

    title: str
    changes: dict[str, Any]
    unit_factor: float = 1.0


CHOICES = (
    Choice("as used", {}),
    Choice("weight gradients: one layer's", {"weight_gradients": "per-layer"}),
    Choice("weight gradients: all", {"weight_gradients": "resident"}),
    Choice("average over time", {"average": "time"}),
    Choice("whole network", {"scope": "network"}),
    Choice("no offload: layer by layer", {"no_offload": "layer-wise"}),
    Choice("VGG-16 with 13 CONVs", {"networks": {"VGG-16": "vgg16"}}),
    Choice("fastest within 3 %", {"fastest_within": 0.03}),
    Choice("GiB for GB", {}, GIB),
    Choice("capacity 12 GB", {"capacity": "12 GB"}),
    Choice("capacity 12 GiB", {"capacity": "12 GiB"}),
)


class Outcome(NamedTuple):
    """What a choice makes of every claim: `near` counts those as near as was aimed at, `miss` is the mean of their
    distances from the paper's numbers over the distances aimed at, so that below 1 is good."""

    choice: Choice
    values: tuple[float, ...]
    near: int
    miss: float


def changed(base: Rules, choice: Choice, gpu: str) -> Rules:
    """The rules with one choice made otherwise."""
    update = dict(choice.changes)
    if "networks" in update:
        update["networks"] = {**base.networks, **update["networks"]}
    if "capacity" in update:
        other = base.gpus[gpu].model_copy(update={"capacity": update.pop("capacity")})
        update["gpus"] = {**base.gpus, gpu: other}
    return base.model_copy(update=update)


def compare_choices(gpu: str, progress: Progress, choices: Sequence[Choice]) -> tuple[list[Claim], list[Outcome]]:
    """The claims, and what each choice makes of them, without bands. A choice that needs a trace which the GPU does not
    have is left out. Raises `InvalidInput` where it has none at all."""
    figures = all_figures(gpu, rules()).figures
    outcomes: list[Outcome] = []
    claims: list[Claim] = []
    with workers(len(choices) * len(plan_jobs(figures, gpu, False, rules()))) as executor:
        for choice in choices:
            altered = changed(rules(), choice, gpu)
            if available_figures(figures, gpu, altered, named=False).left_out:
                continue
            found = compare_claims(measure(figures, gpu, executor, False, progress, altered), gpu)
            claims = claims or found
            values = tuple(
                claim.ours.value / (choice.unit_factor if claim.entry.unit == "GB" else 1) for claim in found
            )
            near = sum(is_near(claim.entry, value) for claim, value in zip(found, values, strict=True))
            misses = [_miss(claim, value) for claim, value in zip(found, values, strict=True)]
            outcomes.append(Outcome(choice, values, near, sum(misses) / len(misses)))
    return claims, outcomes


def _miss(claim: Claim, value: float) -> float:
    """Distance over what was aimed at; of a count, which must be met, the distance itself."""
    return abs(distance(claim.entry, value)) / (tolerance(claim.entry) or 1.0)


def choices_csv(claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> str:
    """One row per claim, one column per choice, the number of near ones below."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["claim", "paper", "unit", *(outcome.choice.title for outcome in outcomes)])
    for index, claim in enumerate(claims):
        values = [f"{outcome.values[index]:.4g}" for outcome in outcomes]
        writer.writerow([claim.entry.name, claim.entry.paper, claim.entry.unit, *values])
    writer.writerow([f"near (of {len(claims)})", "", "", *(outcome.near for outcome in outcomes)])
    writer.writerow(["mean miss", "", "", *(f"{outcome.miss:.2f}" for outcome in outcomes)])
    return text.getvalue()


def choices_markdown(claims: Sequence[Claim], outcomes: Sequence[Outcome]) -> str:
    """One row per choice: how many claims it meets, and each claim that it changes, with those met in bold."""
    rows = [f"| rule | near, of {len(claims)} | mean miss | what it changes |", "|---|---|---|---|"]
    first = outcomes[0]
    for outcome in outcomes:
        changes = [
            _change(claim, value)
            for claim, value, before in zip(claims, outcome.values, first.values, strict=True)
            if with_unit(value, claim.entry.unit) != with_unit(before, claim.entry.unit)
        ]
        text = "; ".join(changes) or ("" if outcome is first else "nothing")
        rows.append(f"| {outcome.choice.title} | {outcome.near} | {outcome.miss:.2f} | {text} |")
    return "\n".join(rows) + "\n"


def _change(claim: Claim, value: float) -> str:
    text = f"{claim.entry.name} {with_unit(value, claim.entry.unit)}"
    return f"**{text}**" if is_near(claim.entry, value) else text
