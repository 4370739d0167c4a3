"""The whole evaluation, run once for all tests that look at what comes out."""

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from vdnnsim.reproduce import Reproduction, reproduce


@dataclass(frozen=True)
class Whole:
    reproduction: Reproduction
    folder: Path
    seconds: float
    progress: list[tuple[str, int, int]]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("paper")
    told: list[tuple[str, int, int]] = []
    begin = time.perf_counter()
    reproduction = reproduce(out=folder, progress=lambda *step: told.append(step))
    return Whole(reproduction, folder, time.perf_counter() - begin, told)
