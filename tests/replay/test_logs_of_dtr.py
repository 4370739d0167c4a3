"""DTR's own logs, as they were replayed here and by simrd (experiments/replay): equal, and what the documents say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
Cells = dict[tuple[str, str, str], list[str]]


def cells(file: str) -> Cells:
    """The overheads by program, heuristic and memory, in the order of budgets, as documents write them."""
    found: Cells = {}
    with (ROOT / "experiments" / "replay" / file).open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            key = row["program"], row["heuristic"], row.get("memory", "bytes")
            words = {"over the limit": "over", "no room": "none"}
            found.setdefault(key, []).append(words.get(row["outcome"]) or f"{float(row['overhead']):.4f}")
    return found


def test_every_overhead_is_that_of_simrd_to_the_fourth_digit() -> None:
    ours, theirs = cells("vdnnsim.csv"), cells("simrd.csv")
    assert len(theirs) == 8
    assert {key: ours[key] for key in theirs} == theirs


@pytest.mark.parametrize(("program", "shown"), [("resnet32", "ResNet-32"), ("unet", "U-Net")])
def test_the_documents_table_is_that_of_the_results(program: str, shown: str) -> None:
    text = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    for (name, heuristic, memory), row in cells("vdnnsim.csv").items():
        if name == program:
            assert f"| {shown} | `{heuristic}` | {memory} | {' | '.join(row)} |" in text
