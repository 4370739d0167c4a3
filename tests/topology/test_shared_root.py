"""The experiment on GPUs behind one root: its table is what the simulation says today, and what the documents say of
it."""

from __future__ import annotations

from types import ModuleType

import pytest

from support.scripts import ROOT, load_script


@pytest.fixture(scope="module")
def experiment() -> ModuleType:
    return load_script("experiments/hosts/shared_root.py")


def test_the_table_is_what_is_simulated(experiment: ModuleType) -> None:
    stored = experiment.read_rows()
    assert [row for row in stored if row[:3] == ("titan-x-maxwell", "overfeat", 128) and row.gpus == 4] == (
        experiment.rows_of("titan-x-maxwell", "overfeat", 128, [4])
    )
    assert len(stored) == len(experiment.CASES) * len(experiment.POLICIES) * experiment.MOST_GPUS * 2


def test_documents_say_how_many_gpus_pay(experiment: ModuleType) -> None:
    stored = experiment.read_rows()
    document = (ROOT / "docs" / "topologies.md").read_text(encoding="utf-8")
    for gpu, network, batch in experiment.CASES:
        most = [experiment.most_that_pay(stored, gpu, network, batch, policy) for policy in experiment.POLICIES]
        assert f"| {network} ({batch}), {experiment.GPUS[gpu]} | {' | '.join(map(str, most))} |" in document
