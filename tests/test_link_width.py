"""What is stored of the links that GPUs need: the page shows it, and one is asked for again, another way."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from vdnnsim import make_study, smallest_link

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("link_width", ROOT / "experiments" / "link_width.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
