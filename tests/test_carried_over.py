"""What is stored of traces carried over, and measured: one network's is worked out again, the page shows the rest."""

from __future__ import annotations

from types import ModuleType

import pytest

from support.scripts import ROOT, load_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("experiments/carried_over.py")


def test_errors_of_one_network_are_the_stored_ones(script: ModuleType) -> None:
    way = ("h200", "h100")
    found = [one for one in script.check([way], "alexnet") if one.what == "iteration" and one.math == "fp32"]
    stored = [
        one for one in script.read() if (one.source, one.target, one.network, one.math) == (*way, "alexnet", "fp32")
    ]
    assert len(found) > 4
    assert [tuple(one) for one in found] == [tuple(one) for one in stored]


def test_the_page_shows_the_stored_errors(script: ModuleType) -> None:
    page = (ROOT / "docs" / "profiles.md").read_text(encoding="utf-8")
    lines = script.table(script.read()).splitlines()
    assert len(lines) > 20
    assert [line for line in lines if line not in page] == []
