"""What holds for any network, plan, GPU and pool: bytes conserved, nothing read that is not there, no gradient lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.checker import check_engines, check_memory, check_run, left_over
from support.strategies import Case, cases
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import POOLS, make_pool
from vdnnsim.program import Program, build_program
from vdnnsim.timeline import Timeline

ROOMY_BYTES = 2**40


def run(case: Case, pool: str = "best-fit", capacity_bytes: int = ROOMY_BYTES) -> tuple[Program, Timeline]:
    program = build_program(case.network, case.plan, case.weight_gradients)
    return program, SimulatedMachine(case.trace, case.gpu).run(program, make_pool(pool, capacity_bytes))


@settings(max_examples=150)
@given(cases(), st.sampled_from(tuple(POOLS)))
def test_every_kernel_finds_what_it_reads_and_no_gradient_is_lost(case: Case, pool: str) -> None:
    program, timeline = run(case, pool)
    check_run(case.network, program, timeline)
    check_engines(timeline)
    check_memory(timeline)
