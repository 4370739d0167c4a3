"""What holds for any network, plan, GPU and pool: bytes conserved, nothing read that is not there, no gradient lost."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from support.cases import gpu_of, plan_of, trace_of
from support.checker import check_engines, check_memory, check_run, left_over
from support.examples import tries
from support.replay import replay_times
from support.strategies import Case, after_waits, cases, curves
from vdnnsim.gpu import AfterWait, Link, LinkCurve
from vdnnsim.machines import OutOfMemory
from vdnnsim.machines.script import Durations, Script, script_of
from vdnnsim.machines.simulated import SimulatedMachine, simulate
from vdnnsim.memory import POOLS, make_pool
from vdnnsim.network import Kind, load_network
from vdnnsim.policies.plan import Layout, feature_extraction_layers
from vdnnsim.program import Program, build_program
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Trace
from vdnnsim.units import PPM

ROOMY_BYTES = 2**40


def run(case: Case, pool: str = "best-fit", capacity_bytes: int = ROOMY_BYTES) -> tuple[Program, Timeline]:
    program = build_program(case.network, case.plan)
    return program, SimulatedMachine(case.trace, case.gpu).run(program, make_pool(pool, capacity_bytes))


@settings(max_examples=tries(80))
@given(cases(), st.sampled_from(tuple(POOLS)))
def test_every_kernel_finds_what_it_reads_and_no_gradient_is_lost(case: Case, pool: str) -> None:
    program, timeline = run(case, pool)
    check_run(case.network, program, timeline)
    check_engines(timeline)
    check_memory(timeline)


@settings(max_examples=tries(60))
@given(cases(layout=Layout.LAYER_WISE))
def test_what_is_left_at_the_end_is_what_was_there_before(case: Case) -> None:
    """Weights, the classifier's maps and gradients; the input data only where no backward kernel reads them. And every
    map that went out came back, once."""
    program, timeline = run(case)
    stays = {buffer.name for buffer in program.setup}
    if case.network.maps["data"].backward_users:
        stays.discard("map:data")
    assert left_over(program) == stays
    out = sorted(copy.buffer for copy in timeline.copies if copy.direction == "copy out")
    back = sorted(copy.buffer for copy in timeline.copies if copy.direction == "copy in")
    assert out == back == sorted(buffer.name for buffer in program.offloaded)


@settings(max_examples=tries(60))
@given(cases(layout=Layout.LAYER_WISE), st.none() | after_waits())
def test_simulated_times_are_those_of_a_replay_in_exact_fractions(case: Case, after_wait: AfterWait | None) -> None:
    """A second machine of some sixty lines, without SimPy and without rounding: same kernels, same copies."""
    gpu = replace(case.gpu, host=replace(case.gpu.host, after_wait=after_wait))
    program, timeline = run(replace(case, gpu=gpu))
    kernel_times, copy_times = replay_times(program, case.trace, gpu)
    assert [(kernel.begin_ns, kernel.end_ns) for kernel in timeline.kernels] == kernel_times
    assert [(copy.begin_ns, copy.end_ns) for copy in timeline.copies] == copy_times


@settings(max_examples=tries(60))
@given(cases())
def test_engines_that_listen_to_each_other_run_as_those_that_need_not(case: Case) -> None:
    """Where nothing slows a copy or a kernel, the machine leaves out the events by which engines hear of each other:
    with them every time is the same."""
    rows = [entry._replace(copy_out_slowdown_ppm=PPM, copy_in_slowdown_ppm=PPM) for entry in case.trace.rows]
    link = replace(case.gpu.link, both_ways_out_slowdown_ppm=PPM, both_ways_in_slowdown_ppm=PPM)
    script = script_of(build_program(case.network, case.plan), Trace(case.trace.header, rows), case.gpu.host)
    durations = Durations(*script.copies_ns(link), [entry.duration_ns for entry in script.kernels])
    gpu = replace(case.gpu, link=link)
    assert not script.slows_copies(link)
    quiet = simulate(script, durations, gpu)
    with patch.object(Script, "slows_copies", return_value=True):
        assert simulate(script, durations, gpu) == quiet
    with patch.object(Script, "slowed_by_copies", return_value=True):
        assert simulate(script, durations, gpu) == quiet


@settings(max_examples=tries(60))
@given(cases())
def test_kernels_that_listen_to_copies_which_do_not_slow_them_run_as_those_that_need_not(case: Case) -> None:
    """Also where they slow copies, and copies each other."""
    script = script_of(build_program(case.network, case.plan), case.trace, case.gpu.host)
    durations = Durations(*script.copies_ns(case.gpu.link), [entry.duration_ns for entry in script.kernels])
    deaf = simulate(script, durations, case.gpu)
    with patch.object(Script, "slowed_by_copies", return_value=True):
        assert simulate(script, durations, case.gpu) == deaf


@settings(max_examples=tries(60))
@given(cases(), curves(), curves(), st.integers(0, 3), st.integers(0, 3))
def test_a_faster_link_never_makes_an_iteration_slower(
    case: Case, out: LinkCurve, back: LinkCurve, more_out: int, more_in: int
) -> None:
    """For a fixed program, to the nanosecond: each copy time not shorter, the iteration not shorter. It holds because
    every layer ends by waiting for what it started, so that no copy meets another layer's kernels."""
    slow = Link(_slower(out, more_out), _slower(back, more_in))
    fast_run = run(replace(case, gpu=replace(case.gpu, link=Link(out, back))))[1]
    slow_run = run(replace(case, gpu=replace(case.gpu, link=slow)))[1]
    assert fast_run.iteration_time_ns <= slow_run.iteration_time_ns
    assert all(fast <= slow for fast, slow in zip(fast_run.step_ends_ns, slow_run.step_ends_ns, strict=True))


def _slower(curve: LinkCurve, times: int) -> LinkCurve:
    rising = enumerate(curve.points, start=1)
    return LinkCurve(tuple(point._replace(duration_ns=point.duration_ns + times * index) for index, point in rising))


@settings(max_examples=tries(60))
@given(cases(), st.sampled_from(tuple(POOLS)), st.integers(0, 10**6))
def test_a_larger_pool_never_makes_an_iteration_slower(case: Case, pool: str, more_bytes: int) -> None:
    """For a fixed program time does not depend on addresses at all: where it fits, it takes the same."""
    _, roomy = run(case, pool)
    capacity_bytes = roomy.pool_high_water_bytes
    try:
        program, tight = run(case, pool, capacity_bytes)
    except OutOfMemory:
        reject()  # a pool with an end may place blocks elsewhere
    _, larger = run(case, pool, capacity_bytes + more_bytes)
    assert tight.iteration_time_ns == larger.iteration_time_ns == roomy.iteration_time_ns
    assert tight.kernels == larger.kernels == roomy.kernels
    assert program.pinned_host_bytes == sum(buffer.size_bytes for buffer in program.offloaded)


@pytest.mark.parametrize("name", ["alexnet", "googlenet", "mobilenet", "resnet50", "squeezenet", "vgg16"])
@pytest.mark.parametrize("kinds", [tuple(Kind), (Kind.CONV,)], ids=["all", "conv"])
def test_built_in_networks_compute_what_they_should(name: str, kinds: tuple[Kind, ...]) -> None:
    """Copies that take longer than any kernel, so that nothing is on time by luck."""
    network = load_network(name, 2)
    trace = trace_of(network)
    plan = plan_of(network, trace, feature_extraction_layers(network, kinds))
    program = build_program(network, plan)
    timeline = SimulatedMachine(trace, gpu_of()).run(program, make_pool("best-fit", ROOMY_BYTES))
    check_run(network, program, timeline)
    check_engines(timeline)
    check_memory(timeline)
    assert len(timeline.copies) == 2 * len(program.offloaded)
