"""Settings for all tests: Hypothesis draws the same examples on every run, and a slow machine fails none of them; with
several workers (`make test`) what is made once for many tests is made by one of them, and the longest begin first."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=False
)
settings.load_profile("steady")

_TESTS = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of a room that share its fixtures go to one worker. Those that stand beside the rooms run whole documents,
    notebooks and wheels: were they last, the other worker would wait for them."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        shared = _shared_by(item)
        if shared:
            item.add_marker(pytest.mark.xdist_group(shared))
    items.sort(key=lambda item: item.path.parent != _TESTS)  # a stable sort


def _shared_by(item: pytest.Item) -> str:
    """The file whose tests share what the test needs, or the folder, or nothing."""
    info = getattr(item, "_fixtureinfo", None)
    scopes = {
        found[-1].scope
        for name, found in (info.name2fixturedefs.items() if info else ())
        if found and name in info.names_closure and found[-1].baseid.startswith("tests")
    }
    if "session" in scopes:
        return str(item.path.parent)
    return str(item.path) if "module" in scopes else ""
