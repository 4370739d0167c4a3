"""The inverse questions, asked of captured steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from captured.batches import of_batch
from captured.steps import MIB, three_layers
from support.cases import ROOMY_BYTES, gpu_of
from vdnnsim import compare, largest_batch, make_study, smallest_capacity, smallest_link
from vdnnsim.captured import write_step, write_steps
from vdnnsim.changes import MachineOptions
from vdnnsim.errors import InvalidInput
from vdnnsim.report.table import comparison_notes
from vdnnsim.sweep.solve import Setting

GPU = gpu_of(ROOMY_BYTES, 2, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("captures") / "varied"
    write_steps("batch", {batch: of_batch(batch) for batch in (4, 8, 16)}, found)
    return found


def test_the_largest_batch_lies_between_captured_ones(folder: Path) -> None:
    """Without offload a sample more takes 24 MB at the peak: the six weights and gradients, and 92 MiB at batch 4."""
    study = make_study(folder, gpu=GPU, batch=11, pool="best-fit")
    assert study.workload.batch == 11
    needed = study.run("baseline").result.pool_high_water_bytes
    answer = largest_batch(folder, gpu=replace(GPU, capacity_bytes=needed), policy="baseline", pool="best-fit")
    assert answer.value == 11
    error = "leave-one-out error of kernel times 0.0 %, of blocks' sizes 0.0 %"
    assert answer.note == f"batches that were not timed are interpolated, {error}"
    assert answer.trace_checked
    assert {tried.value for tried in answer.tried} >= {4, 11, 12, 16}
    assert largest_batch(folder, gpu=GPU, policy="baseline").value == 16


def test_one_capture_says_what_is_missing(tmp_path: Path) -> None:
    write_step(three_layers(), tmp_path / "three")
    with pytest.raises(InvalidInput, match="three: found one captured step, of batch 4; expected captures of several "):
        largest_batch(tmp_path / "three", gpu=GPU, policy="baseline")


def test_questions_are_asked_of_the_machine_that_was_asked_for() -> None:
    changes = MachineOptions(compute_scale=2, link_latency="1us", pinned_budget="1 GB")
    asked = Setting.of(three_layers(), gpu=GPU, **changes).study_of(None)
    meant = make_study(three_layers(), gpu=GPU, **changes)
    assert (asked.gpu, [*asked.trace.rows]) == (meant.gpu, [*meant.trace.rows])
    assert [*meant.trace.rows] != [*make_study(three_layers(), gpu=GPU).trace.rows]


def test_the_smallest_memory_and_link_of_a_step() -> None:
    study = make_study(three_layers(), gpu=GPU)
    memory = smallest_capacity(study, "vdnn-all")
    assert memory.value is not None
    assert memory.value < 6 * MIB + 92 * MIB + 20 * MIB
    link = smallest_link(study, "offload(which=0.01, min_bytes=0)", loss=0.2)
    assert link.value is not None
    assert make_study(three_layers(), gpu=GPU.with_link_bandwidth(link.value)).run("oracle").result.trainable


def test_a_table_says_that_it_is_interpolated(folder: Path) -> None:
    table = compare(folder, gpu=GPU, batch=6, policies="baseline")
    assert table.batch == 6
    told = (
        "Without offload, interpolated: 6.000 ms (spread 0.5 %), peak 6 B requested, 6 B allocated, 6 B reserved\n"
        "Kernels and blocks modelled: linear in batch between 4 and 8; leave-one-out error of kernel times 0.0 %, of "
        "blocks' sizes 0.0 %"
    )
    assert comparison_notes(table)[0] == told
