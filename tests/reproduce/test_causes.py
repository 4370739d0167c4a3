"""What the README says of the misses and of the open rules is what comes out."""

import csv
import re
from pathlib import Path

import pytest

from support.examples import thorough
from tests.reproduce import decomposition
from vdnnsim_paper import choices
from vdnnsim_paper.choices import CHOICES, changed, choices_markdown, compare_choices
from vdnnsim_paper.config import rules

ROOT = Path(__file__).parent.parent.parent
README = " ".join((ROOT / "experiments" / "README.md").read_text(encoding="utf-8").split())


def test_loss_of_vgg16_is_taken_apart() -> None:
    parts = {part.what: part.value for part in decomposition.loss_of_vgg16()}
    for what in parts:
        assert f"{parts[what]:.1f} %" in README, what
    assert parts["vdnn-dyn"] == parts["vdnn-all, fastest"]
    assert abs(parts["with room and slower transforms"] - 18) < 0.5


def test_stall_of_the_very_deep_networks() -> None:
    loss, stalls, layers, stall, kernel = (part.value for part in decomposition.first_group_stall())
    assert f"lose {loss:.1f} %" in README
    assert f"stalls for {stall:.1f} ms: {stalls:.1f} of the {loss:.1f} %" in README
    assert f"modelled at {kernel:.1f} ms" in README
    assert layers == 81


@pytest.mark.parametrize(
    ("case", "policy", "text"),
    [
        ("VGG-416 32", "vdnn-dyn", "saves {:.1f} %, but OverFeat"),
        ("OverFeat 128", "vdnn-all(m)", "but OverFeat {:.1f} and"),
        ("AlexNet 128", "vdnn-all(m)", "AlexNet {:.1f} %, farther"),
    ],
)
def test_savings_without_weights(case: str, policy: str, text: str) -> None:
    assert text.format(decomposition.saved_without_weights(case, policy).value) in README


def test_reuse_distance_with_slower_transforms() -> None:
    assert f"it would be {decomposition.reuse_with_slower_transforms().value:.0f}" in README


def test_overfeat_with_half_the_workspace() -> None:
    bench = decomposition.bench_of("OverFeat 128")
    baseline = bench.run("baseline(p)").result
    workspace = baseline.bytes_by_class_at_peak["workspace"]
    inner = baseline.feature_extraction.average_bytes_per_step
    own = bench.run("vdnn-all(m)").result.feature_extraction.average_bytes_per_step
    assert f"workspace of {workspace / 1e9:.2f} GB for conv5" in README
    assert f"the saving is {100 * (1 - own / (inner - workspace / 2)):.0f} %" in README


@thorough
def test_a_choice_gives_what_the_table_says() -> None:
    """One of the eleven, since each takes seconds; the others are regenerated with the table."""
    wanted = next(choice for choice in CHOICES if choice.title == "no offload: layer by layer")
    claims, (outcome,) = compare_choices("titan-x-maxwell", lambda *_: None, [wanted])
    with (ROOT / "experiments/expected/titan-x-maxwell/rules.csv").open(newline="") as file:
        kept = {row["claim"]: row[wanted.title] for row in csv.DictReader(file)}
    for claim, value in zip(claims, outcome.values, strict=True):
        assert f"{value:.4g}" == kept[claim.entry.name]
    assert str(outcome.near) == kept["near (of 20)"]
    shown = re.search(r"\| no offload: layer by layer \|.*?\|(.*?)\|", choices_markdown(claims, [outcome]))
    assert shown


def test_changed_rules_leave_the_others_alone() -> None:
    by_title = {choice.title: choice for choice in CHOICES}
    base = rules()
    assert changed(base, by_title["as used"], "titan-x-maxwell") == base
    other = changed(base, by_title["VGG-16 with 13 CONVs"], "titan-x-maxwell")
    assert other.networks["VGG-16"] == "vgg16"
    assert other.networks["AlexNet"] == "alexnet"
    assert base.networks["VGG-16"] == "vgg19"
    small = changed(base, by_title["capacity 12 GB"], "titan-x-maxwell")
    assert small.gpus["titan-x-maxwell"].capacity == "12 GB"
    assert small.gpus["h200"] == base.gpus["h200"]


def test_the_rules_in_use_miss_least() -> None:
    """Of all choices but the unit, which README.md argues."""
    with (ROOT / "experiments/expected/titan-x-maxwell/rules.csv").open(newline="") as file:
        rows = {row["claim"]: row for row in csv.DictReader(file)}
    misses = {choice.title: float(rows["mean miss"][choice.title]) for choice in choices.CHOICES}
    used = misses.pop("as used")
    assert misses.pop("GiB for GB") < used
    assert all(used <= miss for miss in misses.values())
