"""What steps need of the memory in which the first of them begins."""

from __future__ import annotations

import pytest

from captured.steps import MIB, three_layers
from vdnnsim.captured import schedule_of
from vdnnsim.machines.steady import SteadyMemory, StepMemory
from vdnnsim.pytorch import as_found


def test_of_what_the_allocator_gives_the_most_counts_and_of_what_it_holds_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first step may find a hole that is larger than what it asks for."""
    step = three_layers()
    alike = as_found.needed_in(step, schedule_of(step, {}), 200 * MIB)
    assert alike == (102_760_960, 102_760_960, 117_440_512, 0)
    steps = (StepMemory(4, 6, 9, 1), StepMemory(4, 5, 8, 0), StepMemory(4, 5, 8, 0))
    monkeypatch.setattr(as_found, "steady_memory", lambda *_: SteadyMemory(steps, settled=True))
    assert as_found.needed_in(step, schedule_of(step, {}), 200 * MIB) == (4, 6, 8, 0)
