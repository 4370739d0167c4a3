"""The numbers that the tests hold fixed: every policy on a few built-in networks with the traces of the package."""

from __future__ import annotations

import json
from pathlib import Path

from vdnnsim.study import compare

FILE = Path(__file__).parents[1] / "golden" / "results.json"
CASES = (("alexnet", 128), ("overfeat", 128), ("googlenet", 128), ("vgg16", 64), ("vgg16", 256), ("vgg116", 32))
GPU = "titan-x-maxwell"
NUMBERS = (
    "trainable",
    "iteration_time_ns",
    "stall_ns",
    "peak_bytes",
    "average_bytes",
    "offloaded_bytes",
    "needed_bytes",
)

Results = dict[str, dict[str, dict[str, int]]]


def title(network: str, batch: int) -> str:
    return f"{network} ({batch}) on {GPU}"


def results_of(network: str, batch: int) -> dict[str, dict[str, int]]:
    """By policy the numbers that are held fixed."""
    comparison = compare(network, batch=batch, gpu=GPU)
    return {result.policy: {name: getattr(result, name) for name in NUMBERS} for result in comparison}


def all_results() -> Results:
    return {title(network, batch): results_of(network, batch) for network, batch in CASES}


def recorded() -> Results:
    results: Results = json.loads(FILE.read_text(encoding="utf-8"))
    return results


def changes(before: Results, after: Results) -> list[str]:
    """What differs, one line each, numbers with their change in per cent."""
    lines = []
    for case in dict.fromkeys([*before, *after]):
        old_case, new_case = before.get(case, {}), after.get(case, {})
        for policy in dict.fromkeys([*old_case, *new_case]):
            old, new = old_case.get(policy, {}), new_case.get(policy, {})
            for name in NUMBERS:
                if old.get(name) != new.get(name):
                    lines.append(f"{case}, {policy}: {name} {_from_to(old.get(name), new.get(name))}")
    return lines


def _from_to(old: int | None, new: int | None) -> str:
    if not old or new is None:
        return f"{old} -> {new}"
    return f"{old} -> {new} ({100 * (new - old) / old:+.3f} %)"
