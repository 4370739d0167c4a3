"""What is stored of the links that GPUs need: the page shows it, and one is asked for again, another way."""

from __future__ import annotations

from types import ModuleType

import pytest

from support.scripts import ROOT, load_script
from vdnnsim import make_study, smallest_link


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load_script("experiments/link_width.py")


def test_the_page_shows_what_is_stored(script: ModuleType) -> None:
    assert script.table(script.read()) in (ROOT / "experiments" / "README.md").read_text(encoding="utf-8")


def test_a_search_by_halving_finds_the_same_link(script: ModuleType) -> None:
    policy = "vdnn-conv(p)"
    study = make_study("alexnet", batch=128, gpu="titan-x-maxwell")
    answer = smallest_link(study, policy, loss=script.LOSS).value
    (stored,) = (
        one for one in script.read() if (one.gpu, one.network, one.policy) == ("titan-x-maxwell", "alexnet", policy)
    )
    assert answer is not None
    assert answer / 1e9 <= stored.needs <= 1.05 * answer / 1e9 + 0.1
    assert stored.low < stored.needs < stored.high
