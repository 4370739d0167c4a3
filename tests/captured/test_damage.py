"""Whatever happens to the files of a captured step, reading says what is wrong, or reads what can be run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captured.steps import one_block_thrice, three_layers
from captured.test_program import run
from support.damage import damaged, read_or_refuse
from vdnnsim.captured import PlanFile, hook_schedule, read_step, write_step
from vdnnsim.captured.choosing import may_leave

FILES = ("header.toml", "operators.csv", "kernels.csv", "blocks.csv", "saved.csv", "deeds.csv", "segments.csv")


@pytest.mark.parametrize("file", FILES)
@given(data=st.data())
def test_a_damaged_step_is_refused_or_can_be_run(file: str, data: st.DataObject) -> None:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "step"
        write_step(data.draw(st.sampled_from((three_layers(), one_block_thrice()))), folder)
        path = folder / file
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        if read_or_refuse(read_step, folder):
            step = read_step(folder)
            timeline = run(step, hook_schedule(step, may_leave(step)))
            assert len(timeline.kernels) == len(step.kernels)
            write_step(step, folder)
            assert read_step(folder) == step


@given(st.data())
def test_a_damaged_plan_is_refused_or_read(data: st.DataObject) -> None:
    step = three_layers()
    with TemporaryDirectory() as temporary:
        path = Path(temporary) / "plan.json"
        PlanFile.of(step, "all", hook_schedule(step, [7, 8, 9], ahead=2), 1, 2).save(path)
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        if read_or_refuse(PlanFile.load, path):
            plan = PlanFile.load(path)
            plan.save(path)
            assert PlanFile.load(path) == plan
