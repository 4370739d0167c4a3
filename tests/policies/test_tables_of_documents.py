"""The tables of docs/policies.md are those of the stored results (experiments/policies)."""

from __future__ import annotations

import csv
from types import ModuleType

from support.scripts import ROOT, load_script

FOLDER = ROOT / "experiments" / "policies"
DOCUMENT = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")


def script(name: str) -> ModuleType:
    return load_script(f"experiments/policies/{name}.py")


def test_what_policies_lose_is_shown_as_it_was_stored() -> None:
    table = script("table")
    rows = table.read_rows(FOLDER / "results.csv")
    for share in table.SHARES:
        assert table.as_table(rows, share) in DOCUMENT


def test_no_stored_policy_is_below_the_bound_but_with_compressed_copies() -> None:
    rows = script("table").read_rows(FOLDER / "results.csv")
    cases = {(row.network, row.gpu, row.share) for row in rows}
    assert len(cases) >= 9
    for case in cases:
        over = {
            row.policy: row.over for row in rows if (row.network, row.gpu, row.share) == case and row.over is not None
        }
        squeezed = [name for name in over if name.startswith("cdma")]
        others = {name: share for name, share in over.items() if name not in (*squeezed, "bound")}
        assert over["bound"] <= min(others.values())


def test_statements_of_papers_stand_beside_ours() -> None:
    with (FOLDER / "statements.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            at = f" ({row['at']})" if row["at"] else ""
            shown = f"| `{row['policy']}` | {row['paper']} | {row['setting']} | {float(row['ours_percent']):.1f}{at} |"
            assert shown in DOCUMENT
