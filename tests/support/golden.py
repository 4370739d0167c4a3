"""The numbers that the tests hold fixed: every policy on a few built-in networks with the traces of the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from vdnnsim.comparing import compare

FILE = Path(__file__).parents[1] / "golden" / "results.json"
LATER = (
    *(
        "vdnn++",
        "vdnn-conv+recompute",
        "torchtune",
        "save-on-cpu",
        "torchtitan",
        "checkpoint",
        "checkpoint(every=sqrt)",
    ),
    *("superneurons", "flashneuron", "g10", "ssdtrain", "dtr", "dtr(heuristic=lru)", "capuchin"),
    *("cdma(vdnn-all(p), density=0.5)", "uvm"),
)


class Case(NamedTuple):
    """A network at a batch; of the paper's policies in the GPU's memory, or of these in so much."""

    network: str
    batch: int
    capacity: str | None = None
    policies: tuple[str, ...] = ()


CASES = (
    *(Case("alexnet", 128), Case("overfeat", 128), Case("googlenet", 128)),
    *(Case("vgg16", 64), Case("vgg16", 256), Case("vgg116", 32)),
    Case("alexnet", 128, "900MB", LATER),
    Case("googlenet", 128, "2.5GB", ("te", "te-v1", "megatron")),
)
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


def title(case: Case) -> str:
    return f"{case.network} ({case.batch}) on {GPU}" + (f", {case.capacity}" if case.capacity else "")


def results_of(case: Case) -> dict[str, dict[str, int]]:
    """By policy the numbers that are held fixed."""
    policies = case.policies or None
    comparison = compare(case.network, batch=case.batch, gpu=GPU, capacity=case.capacity, policies=policies)
    return {result.policy: {name: getattr(result, name) for name in NUMBERS} for result in comparison}


def all_results() -> Results:
    return {title(case): results_of(case) for case in CASES}


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
