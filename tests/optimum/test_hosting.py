"""When the host lets kernels begin, in the model: by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vdnnsim.optimum import Choice, Gap, Instance, Model, Step
from vdnnsim.optimum.coarsening import at_marks


def instance_of(*steps: tuple[int, int, int, int], gaps: tuple[Gap, ...] = ()) -> Instance:
    """Kernels by how long they take, when they are ready and given, and when the host comes to them; two bytes are
    there, and each uses one."""
    found = [Step((f"l{n}", ""), n, (Choice("", step[0], 0),), 1, 0, *step[1:]) for n, step in enumerate(steps)]
    return Instance(tuple(found), gaps, 0, 2)


def time_ns(instance: Instance) -> float | None:
    return Model(instance).solve(whole=True, seconds=60).time_ns


def test_a_period_begins_so_late_that_none_of_its_kernels_is_too_early() -> None:
    instance = instance_of((10, 0, 0, 0), (10, 0, 15, 0), (10, 32, 0, 0))
    assert time_ns(instance) == pytest.approx(42)
    assert time_ns(replace(instance, begins=(0,))) == pytest.approx(12 + 30)


def test_what_is_made_again_begins_when_the_host_has_come_to_its_stage() -> None:
    """The map of two bytes is not there beside the second kernel; its copy out would take too long."""
    gap = Gap("map", 2, 1, 1, 2, 0, 10_000, 10, 40, ())
    assert time_ns(instance_of((10, 0, 0, 0), (10, 0, 20, 20), (10, 0, 500, 500), gaps=(gap,))) == pytest.approx(550)


def test_kernels_between_those_that_are_looked_at_run_behind_what_they_wait_for() -> None:
    (seen,) = at_marks(instance_of((10, 0, 0, 5), (20, 100, 0, 15), (30, 0, 110, 25)), [2]).steps
    assert (seen.before_ns, seen.ready_ns, seen.given_ns, seen.called_ns) == (30, 120, 110, 5)
