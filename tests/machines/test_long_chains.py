"""A chain costs its length: plan, program and simulation, counted in calls rather than seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from support.cases import ROOMY_BYTES, gpu_of
from support.chains import MAP_BYTES, chain_of, plan_of_chain, trace_of_chain
from vdnnsim.iteration import Waits
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.program import build_iteration
from vdnnsim.timeline import Timeline


def run_chain(layers: int, waits: Waits) -> Timeline:
    iteration = chain_of(layers)
    program = build_iteration(iteration, plan_of_chain(iteration, layers * 3 // 5, waits))
    return SimulatedMachine(trace_of_chain(iteration), gpu_of()).run(program, make_pool("best-fit", ROOMY_BYTES))


def calls_of(act: Callable[[], object]) -> int:
    """How many functions are called, Python's own and built-in ones."""
    count = 0

    def counting(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        act()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("waits", list(Waits))
def test_twice_the_length_is_twice_the_work(waits: Waits) -> None:
    run_chain(10, waits)  # what is done once for all is done
    short, long = (calls_of(lambda layers=layers: run_chain(layers, waits)) for layers in (250, 500))  # type: ignore[misc]
    assert 1.9 * short < long < 2.1 * short


def test_a_chain_in_vdnns_schedule() -> None:
    """Every map that leaves does so once and comes back; never are more there than vDNN's window needs."""
    timeline = run_chain(50, Waits.EACH_LAYER)
    assert len(timeline.kernels) == 100
    assert len(timeline.copies) == 2 * 30
    assert timeline.pool_high_water_bytes < 30 * MAP_BYTES
