"""The processor that gives the commands: a measurement is taken on a core at full speed, or said not to be."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable

import pytest

from vdnnsim.calibration.samples import steady_sample
from vdnnsim.machines.real.host import Counts, Host, probe_ns

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


def test_a_measurement_is_taken_again_where_the_host_became_slower(cores: Cores) -> None:
    machine = cores(8)
    host = Host(machine.probe)
    taken: list[int] = []

    def measure() -> int:
        taken.append(len(taken))
        if len(taken) == 1:
            machine.speeds[7] = SLOW
        return taken[-1]

    assert host.undisturbed(measure) == (1, True)
    assert host.core == 6
    assert host.counts == Counts(2, 1)
    assert "1 of 2" in host.describe()


def test_a_host_that_is_slow_throughout_is_said_to_be(cores: Cores) -> None:
    machine = cores(8)
    host = Host(machine.probe)
    machine.speeds = dict.fromkeys(range(8), SLOW)
    taken: list[int] = []
    assert host.undisturbed(lambda: taken.append(1)) == (None, False)
    assert len(taken) == 1, "where no core is fast, trying again would only take longer"


def test_tries_end(cores: Cores) -> None:
    machine = cores(8)
    host = Host(machine.probe)
    taken: list[int] = []

    def measure() -> None:
        taken.append(1)
        machine.speeds[host.core or 0] = SLOW

    assert host.undisturbed(measure, tries=3) == (None, False)
    assert len(taken) == 3


def test_few_cores_are_left_to_the_system(cores: Cores) -> None:
    machine = cores(2)
    host = Host(machine.probe)
    assert host.core is None
    with host.quiet():
        assert machine.at == {0, 1}


def test_a_sample_leaves_out_what_was_disturbed(cores: Cores) -> None:
    machine = cores(8)
    host = Host(machine.probe)
    values = iter([50, 90, 51, 90, 52, 54])

    def measure() -> int:
        value = next(values)
        machine.speeds[host.core or 0] = SLOW if value == 90 else FAST
        return value

    found = steady_sample(host, measure, 4, attempts=1)
    assert found.quiet
    assert found.median_ns == 52
    assert found.repetitions == 4


def test_a_sample_on_a_slow_host_is_not_steady(cores: Cores) -> None:
    machine = cores(2)
    host = Host(machine.probe)
    machine.speeds = dict.fromkeys(range(2), SLOW)
    found = steady_sample(host, lambda: 7, 4, attempts=2)
    assert not found.quiet
    assert not found.steady
    assert (found.median_ns, found.spread_ppm, found.repetitions) == (7, 0, 4)


def test_the_probe_takes_some_microseconds() -> None:
    assert 1_000 < probe_ns() < 50_000_000
