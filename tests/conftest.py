"""Settings for all tests: Hypothesis draws the same examples on every run, and a slow machine fails none of them; with
several workers (`make test`) what is made once for many tests is made by one of them, and the longest begin first."""

from __future__ import annotations

import gc
import os
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from support.examples import tries

settings.register_profile(
    "steady",
    max_examples=tries(100),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=False,
)
settings.load_profile("steady")

os.environ["VDNNSIM_QUIET"] = "1"  # a slow machine says nothing of it into what commands print

_BESIDE_THE_ROOMS = 2  # parts of a path: tests/test_wheel.py
_LONG = ("reproduce", "report", "golden", "calibration", "sweep", "figures", "cli", "machines")
"""Rooms whose tests train, draw, start processes or run whole traces."""
_WHOLE = ("reproduce", "report")
"""Rooms in which many files share what a fixture makes once for the session."""


def pytest_sessionstart() -> None:
    """Say it where the installation is older than the commands in pyproject.toml: many a test would fail of it."""
    settings = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = settings["project"]["entry-points"]["vdnnsim.commands"]
    there = {entry.name: entry.value for entry in entry_points(group="vdnnsim.commands")}
    if not wanted.items() <= there.items():
        command = "python -m pip install --no-build-isolation --no-deps --editable ."
        pytest.exit(f"the installed vdnnsim is older than pyproject.toml: make test, or {command}", returncode=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: documents, notebooks and wheels, which stand beside the rooms, then the long rooms. Were they
    last, the other worker would wait for them."""
    items.sort(key=_turn)  # a stable sort


def _turn(item: pytest.Item) -> int:
    parts = item.nodeid.partition("::")[0].split("/")
    return 0 if len(parts) == _BESIDE_THE_ROOMS else 1 if parts[1] in _LONG else 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """A file goes to one worker, since its tests may share what a fixture made; so do all files of some rooms."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            room = file.split("/")[1]
            return room if room in _WHOLE else file

    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """A worker that has told its results ends at once: taking all apart that 3,000 tests have left in its memory takes
    Python six seconds."""
    if hasattr(config, "workerinput"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: the collector of cyclic garbage need not look at it again, nor
    as often as usual, since it costs a tenth of all tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
