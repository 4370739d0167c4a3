"""The processor that gives the commands: a measurement is taken on a core at full speed, or said not to be."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable

import pytest

from vdnnsim.machines.real.host import Host, probe_ns

FAST, SLOW = 100, 180


class Core:
    """Cores whose speeds a test sets; a thread "on" a core is one whose affinity is that core."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
        self.speeds = dict.fromkeys(range(cores), FAST)
        self._at = set(range(cores))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(self._at), raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: setattr(self, "_at", set(cores)), raising=False)

    def probe(self) -> int:
        return self.speeds[min(self._at)]

    @property
    def at(self) -> set[int]:
        return self._at


Cores = Callable[[int], Core]


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Cores:
    return lambda count: Core(monkeypatch, count)


def test_a_slow_core_is_left_for_a_fast_one(cores: Cores) -> None:
    machine = cores(8)
    host = Host(machine.probe)
    assert host.core == 7
    machine.speeds[7] = machine.speeds[6] = SLOW
    assert host.settle()
    assert host.core == 5
    with host.quiet():
        assert machine.at == {5}
        assert not gc.isenabled()
    assert machine.at == set(range(8))
    assert gc.isenabled()


def test_a_core_that_became_slow_is_not_held(cores: Cores) -> None:
    machine = cores(8)
    host = Host(machine.probe)
    assert host.held()
    machine.speeds[7] = SLOW
    assert not host.held()
    assert host.settle()
    assert host.core == 6
    machine.speeds = dict.fromkeys(range(8), SLOW)
    assert not host.settle()


def test_few_cores_are_left_to_the_system(cores: Cores) -> None:
    machine = cores(2)
    host = Host(machine.probe)
    assert host.core is None
    with host.quiet():
        assert machine.at == {0, 1}


def test_the_probe_takes_some_microseconds() -> None:
    assert 1_000 < probe_ns() < 50_000_000
