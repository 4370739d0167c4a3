"""Demand paging: who goes, when, and what faults take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captured.steps import three_layers
from support.cases import gpu_of, trace_of
from support.examples import tries
from support.strategies import networks
from vdnnsim.comparing import compare_policies
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import CopyStreams, Leave, Paging
from vdnnsim.making import make_study
from vdnnsim.network import Network
from vdnnsim.policies import make_policy
from vdnnsim.report.table import comparison_notes
from vdnnsim.results import PolicyRun
from vdnnsim.study import Study
from vdnnsim.summary import profile_labels
from vdnnsim.sweep.engines import Engine, run_points
from vdnnsim.sweep.links import OWN, LinkTable
from vdnnsim.sweep.prepared import prepare
from vdnnsim.trace import Provenance
from vdnnsim.units import PPM

from .test_papers import LONG, MAP_BYTES

TRACE = trace_of(LONG, default_ns=100)
ALL_LABELS = ("memory", "host", "link.copy_out", "link.copy_in", "link.both_ways")


def study_of(maps: float) -> Study:
    """In memory for so many of its maps; kernels take 100 ns."""
    return Study(LONG, TRACE, gpu_of(int(maps * MAP_BYTES)), "first-fit", checked=True)  # type: ignore[arg-type]


def ran(maps: float) -> PolicyRun:
    run = study_of(maps).run("uvm(handling=1us)")
    assert run.result.reason == ""
    return run


def test_each_block_of_2_mib_takes_its_faults() -> None:
    paging = Paging(6, 45_000)
    assert [paging.handled_ns(size_bytes) for size_bytes in (1, 2 << 20, (2 << 20) + 1)] == [270_000, 270_000, 540_000]


def test_what_is_used_longest_ago_goes_when_memory_is_full_and_comes_back_where_it_is_needed() -> None:
    """d's forward would have five maps in memory for four and a quarter: a's goes before it, which b has read. loss's
    finds b's too many. Each is back for the backward that reads it, and no sooner."""
    schedule = ran(4.25).plan.schedule
    assert schedule.actions == {"map:a": Leave(2, 2, 8, 8), "map:b": Leave(3, 3, 7, 7)}
    assert schedule.copies is CopyStreams.COMPUTE


def test_kernels_stand_while_others_go_and_while_theirs_come() -> None:
    """A copy of a map takes 16,384 ns; one that comes in 6 faults of 1,000 ns besides. Kernels of a, b, c; a's goes; d;
    b's goes; loss, loss's backward, d's two; b's comes; c's two; a's comes; b's two and a's."""
    run = ran(4.25)
    assert [(copy.direction, copy.buffer, copy.begin_ns, copy.end_ns) for copy in run.timeline.copies] == [
        ("copy out", "map:a", 300, 16_684),
        ("copy out", "map:b", 16_784, 33_168),
        ("copy in", "map:b", 33_568, 55_952),
        ("copy in", "map:a", 56_152, 78_536),
    ]
    assert run.timeline.iteration_time_ns == 78_836
    assert run.result.pinned_host_bytes == 0
    labels = profile_labels(replace(gpu_of(), provenance=dict.fromkeys(ALL_LABELS, "measured")), run.program, TRACE)
    assert Provenance.MODELLED in labels, "what faults take is derived"
    assert run.result.spent.late_fetches_ns == 2 * (MAP_BYTES + 6000)
    assert run.result.spent.copies_out_ns == 2 * MAP_BYTES


def test_nothing_goes_where_there_is_room() -> None:
    assert ran(100).plan.schedule.actions == {}


@settings(max_examples=tries(6))
@given(networks(), st.integers(50, 100))
def test_programs_are_right_on_any_network_with_less_memory(network: Network, per_cent: int) -> None:
    trace = trace_of(network)
    needed_bytes = Study(network, trace, gpu_of()).run("uvm").result.peak_bytes  # type: ignore[arg-type]
    study = Study(network, trace, gpu_of(max(1, needed_bytes * per_cent // 100)), "first-fit", checked=True)  # type: ignore[arg-type]
    run = study.run("uvm(handling=1us)")
    assert run.result.offloaded_bytes == run.result.prefetched_bytes


def test_of_a_step_blocks_go_and_come_by_faults() -> None:
    """Less memory than its peak, more than what stays."""
    whole = make_study(three_layers(), gpu=gpu_of())
    peak_bytes = whole.run("baseline").result.peak_bytes
    short = replace(whole, gpu=whole.gpu.with_capacity(peak_bytes * 9 // 10), checked=True)
    run = short.run("uvm")
    assert run.program.paging == Paging(
        6, 45_000, "6 faults of 45us for each 2 MiB, derived from NVIDIA's driver and G10's 45 us"
    )
    ins = [copy for copy in run.timeline.copies if copy.direction == "copy in"]
    assert ins
    assert all(copy.alone_ns > run.program.paging.handled_ns(copy.size_bytes) for copy in ins)
    with pytest.raises(
        InvalidInput, match="plan of uvm: found copies by page faults, which CUDA's unified memory makes"
    ):
        _ = run.result.plan


def test_it_is_named_with_what_is_given_and_tables_say_what_faults_take() -> None:
    assert make_policy("uvm(faults=6, handling=45us)").name == "uvm"
    assert make_policy("uvm(handling=1500ns)").name == "uvm(handling=1500ns)"
    with pytest.raises(InvalidInput, match=r"handling: found '45', expected a duration with its unit"):
        make_policy("uvm(handling=45)")
    notes = comparison_notes(compare_policies(study_of(100), ["uvm", "uvm(faults=2)"]))
    assert notes[-1] == (
        "Page faults: 2 faults of 45us for each 2 MiB, given; 6 faults of 45us for each 2 MiB, derived from NVIDIA's "
        "driver and G10's 45 us."
    )


def test_sweeps_run_it_on_the_reference_engine_and_no_other() -> None:
    study = study_of(4.25)
    prepared = prepare(study, "uvm")
    links = LinkTable(study.gpu, *np.array([[OWN, OWN, OWN]], dtype=np.int64).T)
    point = np.array([0])
    times, engine = run_points(prepared, links, point, np.array([PPM]), point, Engine.AUTO)
    assert engine is Engine.REFERENCE
    assert times.iteration_time_ns.tolist() == [study.run("uvm").result.iteration_time_ns]
    with pytest.raises(InvalidInput, match="found vectorised and demand paging, which it does not cover"):
        run_points(prepared, links, point, np.array([PPM]), point, Engine.VECTORISED)
