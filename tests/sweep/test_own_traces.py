"""Tables and folders of traces of one's own, named on the command line of sweeps and of inverse questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from support.sweeps import write_spec
from vdnnsim.errors import InvalidInput
from vdnnsim.network import load_network
from vdnnsim.sweep.plan import plan_sweep
from vdnnsim.sweep.reading import read_sweep
from vdnnsim.sweep.run import run_sweep
from vdnnsim.sweep.solve import Answer, Setting, largest_batch, smallest_capacity, smallest_link
from vdnnsim.trace import Trace, trace_path, write_trace
from vdnnsim_builder.titan_x_maxwell import build_trace

TITAN = "titan-x-maxwell"
SPEC = f"""
schema = 1
[axes]
network = "squeezenet"
batch = [2, 3, 4]
gpu = "{TITAN}"
policy = "vdnn-all(p)"
"""
SETTING = Setting("squeezenet", TITAN)
POLICY = "vdnn-all(p)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Traces of batches 2 and 4, the second without its layers."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / TITAN).mkdir()
    for batch in (2, 4):
        trace = build_trace(load_network("squeezenet", batch))
        header = trace.header if batch == 2 else replace(trace.header, layers=())
        write_trace(Trace(header, trace.rows), trace_path(folder, TITAN, "squeezenet", batch, "fp32"))
    return folder


def tables(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted((folder / TITAN).glob("*.csv")))


def test_a_sweep_takes_tables_and_folders_alike(folder: Path, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, SPEC)
    by_folder, by_table = plan_sweep(spec, folders=[folder]), plan_sweep(spec, tables=tables(folder))
    assert by_folder.manifest == by_table.manifest
    run_sweep(by_table, tmp_path / "out", jobs=1)
    frame = read_sweep(tmp_path / "out").sort_values("batch")
    assert frame["trace_batch"].tolist() == ["2", "2..4", "4"]
    assert frame["trace_checked"].tolist() == [True, False, False]


def batch_of(setting: Setting) -> Answer:
    found = {"gpu": setting.gpu, "trace": setting.tables, "traces": setting.folders}
    return largest_batch(setting.network, policy=POLICY, loss=0.5, **found)  # type: ignore[arg-type]


def capacity_of(setting: Setting) -> Answer:
    return smallest_capacity(setting.study_of(2), POLICY, loss=0.5)


def link_of(setting: Setting) -> Answer:
    return smallest_link(setting.study_of(2), POLICY, loss=0.5)


@pytest.mark.parametrize("solve", [batch_of, capacity_of, link_of])
def test_questions_take_tables_and_folders_alike(folder: Path, solve: Callable[[Setting], Answer]) -> None:
    own = tables(folder) if solve is batch_of else tables(folder)[:1]
    answer = solve(replace(SETTING, tables=own))
    assert answer == solve(replace(SETTING, folders=(folder,)))
    assert answer.trace_checked is (solve is not batch_of)


def test_a_table_that_nothing_asks_for_is_refused(folder: Path, tmp_path: Path) -> None:
    other = "found squeezenet batch 4 on titan-x-maxwell, fp32, expected one that is asked for here"
    with pytest.raises(InvalidInput, match=other):
        replace(SETTING, tables=tables(folder)).study_of(2)
    with pytest.raises(InvalidInput, match=other):
        plan_sweep(write_spec(tmp_path, SPEC.replace("[2, 3, 4]", "2")), tables=tables(folder))
    with pytest.raises(InvalidInput, match="found squeezenet batch 2"):
        batch_of(replace(SETTING, network="vgg16", tables=tables(folder)))
