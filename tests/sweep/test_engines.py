"""Two engines, one meaning: the recurrence gives the simulated machine's numbers to the nanosecond and the byte."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import ROOMY_BYTES, gpu_of, row
from support.examples import tries
from support.strategies import Case, after_waits, cases, gpus, programs
from vdnnsim.gpu import BesideCopies, GpuProfile, HostCosts
from vdnnsim.iteration import Compression, Layout, Waits
from vdnnsim.machines import DeviceMemory, check_program
from vdnnsim.machines.script import COMPUTE, OUT, script_of
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.making import make_study
from vdnnsim.memory import ENDLESS_BYTES, make_pool
from vdnnsim.metrics import MemoryUse
from vdnnsim.metrics.power import CopyTime, copy_time
from vdnnsim.metrics.spent import spent
from vdnnsim.policies import POLICIES, Plan
from vdnnsim.program import (
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostWait,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
    build_program,
)
from vdnnsim.study import Study
from vdnnsim.sweep.axes import OWN
from vdnnsim.sweep.engines import Engine, run_points, uncovered
from vdnnsim.sweep.links import LinkTable, point_gpu
from vdnnsim.sweep.prepared import Prepared, prepare, prepare_plan
from vdnnsim.sweep.recurrence import Times, covers
from vdnnsim.sweep.segments import Launch, Wait, lower
from vdnnsim.timeline import Timeline
from vdnnsim.trace import Provenance, Trace, TraceHeader, scaled_trace
from vdnnsim.units import PPM

_NO_USE = MemoryUse(0, 0, 0, {}, {}, -1)


def study_of(case: Case) -> Study:
    return Study(case.network, case.trace, case.gpu, "best-fit", case.weight_gradients)


def link_tables(gpu: GpuProfile) -> st.SearchStrategy[LinkTable]:
    bandwidths = st.sampled_from([OWN, 10**7, 3 * 10**8, 10**9, 10**10])
    latencies = st.sampled_from([OWN, 1, 40, 700])
    links = st.tuples(bandwidths, bandwidths, latencies)
    some_links = st.lists(links, min_size=1, max_size=2, unique=True)
    return some_links.map(lambda some: LinkTable(gpu, *np.array(some, dtype=np.int64).T)).filter(
        lambda table: bool(table.possible().all())
    )


SCALES = st.lists(st.sampled_from([PPM, PPM // 3, 700_001, 2 * PPM, 17 * PPM]), min_size=1, max_size=2, unique=True)


def every_point(links: LinkTable, scales: list[int]) -> tuple[np.ndarray, np.ndarray]:
    link_of, scale_of = np.divmod(np.arange(len(links) * len(scales)), len(scales))
    return link_of, scale_of


def expected(study: Study, plan: Plan, links: LinkTable, link: int, scale_ppm: int) -> tuple[int, ...]:
    """The same point by the package's main road: its own GPU, its own trace, the whole timeline."""
    out, back, latency = (
        int(column[link]) for column in (links.outs_bytes_per_s, links.ins_bytes_per_s, links.latencies_ns)
    )
    gpu = point_gpu(study.gpu, out, back, latency)
    run = replace(study, gpu=gpu, trace=scaled_trace(study.trace, scale_ppm)).run_plan("plan", plan)
    result, timeline = run.result, run.timeline
    inner = result.feature_extraction
    return (
        result.iteration_time_ns,
        result.stall_ns,
        sum(layer.kernel_ns for layer in result.layers),
        result.average_bytes,
        inner.iteration_time_ns,
        inner.stall_ns,
        inner.average_bytes,
        *spent(timeline)[1:4],
        spent(timeline).synchronise_ns,
        *copy_time_of(timeline),
        spent(timeline).again_ns,
    )


def copy_time_of(timeline: Timeline) -> CopyTime:
    copies = ((copy.begin_ns, copy.end_ns) for copy in timeline.copies)
    return copy_time([(kernel.begin_ns, kernel.end_ns) for kernel in timeline.kernels], copies)


def perhaps_compressed(plan: Plan) -> st.SearchStrategy[Plan]:
    """The plan as it is, or with copies of a third or two, by an engine that is no limit or is one."""
    leaves = plan.schedule.leaves
    squeezed = st.builds(
        lambda ppm, rate: Compression(dict.fromkeys(leaves, ppm), rate),
        st.sampled_from([PPM // 3, 2 * PPM // 3]),
        st.sampled_from([10**9, 10**12]),
    )
    return (st.none() | squeezed).map(lambda drawn: replace(plan, schedule=replace(plan.schedule, compression=drawn)))


def at(times: Times, index: int) -> tuple[int, ...]:
    return tuple(int(column[index]) for column in times)


@settings(max_examples=tries(50))
@given(st.data())
def test_recurrence_is_the_main_road_to_the_nanosecond(data: st.DataObject) -> None:
    case = data.draw(cases())
    study = study_of(case)
    plan = data.draw(perhaps_compressed(case.plan))
    prepared = prepare_plan(study, plan)
    links = data.draw(link_tables(case.gpu))
    scales = data.draw(SCALES)
    link_of, scale_of = every_point(links, scales)
    times, engine = run_points(prepared, links, link_of, np.array(scales), scale_of, Engine.AUTO)
    assert engine is (Engine.VECTORISED if covers(prepared.lowered, case.gpu.link) else Engine.REFERENCE)
    for index, (link, scale) in enumerate(zip(link_of, scale_of, strict=True)):
        assert at(times, index) == expected(study, plan, links, int(link), scales[scale])


@settings(max_examples=tries(30))
@given(st.data())
def test_a_host_that_goes_cold_runs_on_the_reference_engine(data: st.DataObject) -> None:
    case = data.draw(cases())
    gpu = replace(case.gpu, host=replace(case.gpu.host, after_wait=data.draw(after_waits())))
    study = replace(study_of(case), gpu=gpu)
    links = data.draw(link_tables(gpu))
    link_of, scale_of = every_point(links, [PPM])
    prepared = prepare_plan(study, case.plan)
    times, engine = run_points(prepared, links, link_of, np.array([PPM]), scale_of, Engine.AUTO)
    assert engine is Engine.REFERENCE
    for index, link in enumerate(link_of):
        assert at(times, index) == expected(study, case.plan, links, int(link), PPM)


@pytest.mark.parametrize("slow", ["kernels", "streams"])
@settings(max_examples=tries(30))
@given(data=st.data())
def test_slowed_kernels_and_late_streams_run_on_the_reference_engine(slow: str, data: st.DataObject) -> None:
    """Unless the program has none of these: then the vectorised one is as exact as ever."""
    program, trace = data.draw(programs(single_waits=True))
    gpu = data.draw(gpus())
    if slow == "kernels":
        trace = Trace(trace.header, [entry._replace(kind="norm") for entry in trace.rows])
        gpu = replace(gpu, link=replace(gpu.link, kernels={"norm": BesideCopies(PPM, 2 * PPM)}))
    else:
        gpu = replace(gpu, host=replace(gpu.host, stream_start_ns=6))
    prepared = prepared_program(program, trace, gpu)
    links = LinkTable(gpu, *np.full((3, 1), OWN))
    zero = np.zeros(1, dtype=np.int64)
    times, engine = run_points(prepared, links, zero, np.array([PPM]), zero, Engine.AUTO)
    if slow == "kernels" or any(prepared.script.holds):
        assert engine is Engine.REFERENCE
    timeline = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", ROOMY_BYTES))
    parts = spent(timeline)
    assert (times.iteration_time_ns[0], times.kernel_ns[0]) == (
        timeline.iteration_time_ns,
        parts.kernels_ns + parts.again_ns,
    )
    assert times.synchronise_ns[0] == parts.synchronise_ns


def test_a_sweep_says_why_it_runs_on_the_reference_engine() -> None:
    kernels = {"norm": BesideCopies(PPM, 2 * PPM)}
    gpu = gpu_of()
    slowing = replace(gpu, link=replace(gpu.link, kernels=kernels))
    header = TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"})
    trace = Trace(header, [row("a", "forward", 100)])
    assert uncovered(slowing, trace) == "", "a network's kernels have no class"
    captured = Trace(header, [row("a", "forward", 100)._replace(kind="norm")])
    assert uncovered(gpu, captured) == ""
    assert uncovered(slowing, captured).startswith("copies slow kernels ([link.kernels] of its profile)")


@settings(max_examples=tries(40))
@given(st.data())
def test_plans_whoever_waits_are_right_and_run_the_same_on_both_engines(data: st.DataObject) -> None:
    """Also where copies outlive their layers: the host waits for single copies, or kernels do by their stream."""
    case = data.draw(cases(layout=Layout.LAYER_WISE))
    schedule = replace(case.plan.schedule, waits=data.draw(st.sampled_from([Waits.KERNELS, Waits.STREAMS])))
    program = build_program(case.network, replace(case.plan, schedule=schedule))
    check_program(case.network, program, DeviceMemory(make_pool("best-fit", ROOMY_BYTES)))
    prepared = prepared_program(program, case.trace, case.gpu)
    links = data.draw(link_tables(case.gpu))
    scales = data.draw(SCALES)
    link_of, scale_of = every_point(links, scales)
    fast, _ = run_points(prepared, links, link_of, np.array(scales), scale_of, Engine.AUTO)
    slow, _ = run_points(prepared, links, link_of, np.array(scales), scale_of, Engine.REFERENCE)
    for index in range(len(link_of)):
        assert at(fast, index) == at(slow, index)


@settings(max_examples=tries(40))
@given(st.data())
def test_plans_of_the_policies_are_always_covered(data: st.DataObject) -> None:
    """Layer-wise programs copy one way at a time, whatever the network."""
    case = data.draw(cases())
    prepared = prepare_plan(study_of(case), case.plan)
    assert covers(prepared.lowered, case.gpu.link)


SMALL = make_study("alexnet", batch=128, gpu="titan-x-maxwell")


def prepared_program(program: Program, trace: Trace, gpu: GpuProfile) -> Prepared:
    study = replace(SMALL, trace=trace, gpu=gpu)
    script = script_of(program, trace, gpu.host)
    return Prepared(study, script, lower(script), "", 0, _NO_USE, _NO_USE, 0, 0, 1, 1, 0, Provenance.MODELLED)


@settings(max_examples=tries(120))
@given(st.data())
def test_any_program_that_is_covered_runs_the_same_on_both_engines(data: st.DataObject) -> None:
    program, trace = data.draw(programs() | programs(single_waits=True))
    gpu = data.draw(gpus())
    if data.draw(st.booleans()):
        link = replace(gpu.link, both_ways_out_slowdown_ppm=PPM, both_ways_in_slowdown_ppm=PPM)
        gpu = replace(gpu, link=link)
    prepared = prepared_program(program, trace, gpu)
    links = data.draw(link_tables(gpu))
    scales = data.draw(SCALES)
    link_of, scale_of = every_point(links, scales)
    fast, engine = run_points(prepared, links, link_of, np.array(scales), scale_of, Engine.AUTO)
    slow, _ = run_points(prepared, links, link_of, np.array(scales), scale_of, Engine.REFERENCE)
    for index in range(len(link_of)):
        assert at(fast, index) == at(slow, index)
    both_ways = prepared.lowered.both_ways
    couples = (gpu.link.both_ways_out_slowdown_ppm, gpu.link.both_ways_in_slowdown_ppm) != (PPM, PPM)
    assert engine is (Engine.REFERENCE if both_ways and couples else Engine.VECTORISED)


@pytest.mark.parametrize("policy", POLICIES)
def test_single_points_and_whole_rectangles_agree(policy: str) -> None:
    """Few points of many links and scales are gathered one by one, a full product is worked out crossed."""
    study = make_study("vgg16", batch=64, gpu="titan-x-maxwell")
    prepared = prepare(study, policy)
    links = LinkTable(study.gpu, *[np.linspace(1e9, 9e10, 23).astype(np.int64)] * 2, np.full(23, OWN))
    scales = np.linspace(300_000, 5_000_000, 29).astype(np.int64)
    link_of, scale_of = every_point(links, list(scales))
    whole, engine = run_points(prepared, links, link_of, scales, scale_of, Engine.AUTO)
    some = np.random.default_rng(5).permutation(len(link_of))[:50]
    part, _ = run_points(prepared, links, link_of[some], scales, scale_of[some], Engine.AUTO)
    slow, _ = run_points(prepared, links, link_of[some[:4]], scales, scale_of[some[:4]], Engine.REFERENCE)
    assert engine is Engine.VECTORISED
    for index, point in enumerate(some):
        assert at(part, index) == at(whole, int(point))
    for index, point in enumerate(some[:4]):
        assert at(slow, index) == at(whole, int(point))


def test_numbers_that_would_leave_63_bits_go_to_the_reference() -> None:
    study = make_study("alexnet", batch=128, gpu="titan-x-maxwell")
    rows = [entry._replace(duration_ns=10**12) for entry in study.trace.rows]
    study = replace(study, trace=Trace(study.trace.header, rows))
    prepared = prepare(study, "vdnn-all(m)")
    links = LinkTable(study.gpu, *np.full((3, 1), OWN))
    zero = np.zeros(1, dtype=np.int64)
    times, engine = run_points(prepared, links, zero, np.array([PPM]), zero, Engine.AUTO)
    assert engine is Engine.REFERENCE
    assert int(times.iteration_time_ns[0]) == study.run_plan("x", prepared_plan(study)).result.iteration_time_ns


def one_kernel_beside_a_copy(
    duration_ns: int = 1000, slowdown: float = 1, bytes_: int = 900, scale_ppm: int = PPM
) -> Engine:
    """The engine that works such a program out; held to the simulated machine's numbers."""
    trace = Trace(
        TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"}),
        [row("a", "forward", duration_ns, 0, "default", slowdown, 1)],
    )
    buffer = Buffer("x", bytes_, MemoryClass.FEATURE_MAPS, "a", False)
    small = Buffer("y", 900, MemoryClass.FEATURE_MAPS, "a", False)
    commands: tuple[Command, ...] = (
        Kernel("a", "forward", "default"),
        CopyOut(small, "a"),
        Synchronise((Stream.COMPUTE, Stream.COPY_OUT)),
    )
    prepared = prepared_program(
        Program((buffer, small), commands, (Step("a", False, False, 0, 3),), {}, ()), trace, gpu_of()
    )
    links = LinkTable(prepared.study.gpu, *np.full((3, 1), OWN))
    zero = np.zeros(1, dtype=np.int64)
    times, engine = run_points(prepared, links, zero, np.array([scale_ppm]), zero, Engine.AUTO)
    exact, _ = run_points(prepared, links, zero, np.array([scale_ppm]), zero, Engine.REFERENCE)
    assert at(times, 0) == at(exact, 0)
    return engine


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        ({"slowdown": 8}, {"slowdown": 8.000001}),
        ({"bytes_": 2**42 - 901}, {"bytes_": 2**42 - 900}),
        ({"duration_ns": 2**42, "scale_ppm": 17 * PPM}, {"duration_ns": 2**42 + 1, "scale_ppm": 17 * PPM}),
        ({"duration_ns": 10**12}, {"duration_ns": 2**40 - 1}),
        ({}, {"duration_ns": 10**13, "scale_ppm": 100 * PPM}),
        ({}, {"duration_ns": 10**9, "slowdown": 10**9}),
        ({}, {"bytes_": 2**62}),
    ],
    ids=["slowdown", "bytes", "kernel", "all", "far kernel", "far slowdown", "far bytes"],
)
def test_each_guard_of_63_bits_stands_where_it_says(within: dict[str, int], beyond: dict[str, int]) -> None:
    """What a guard lets through is exact, and the next value goes to the simulated machine."""
    assert one_kernel_beside_a_copy(**within) is Engine.VECTORISED
    assert one_kernel_beside_a_copy(**beyond) is Engine.REFERENCE


@settings(max_examples=tries(80))
@given(st.data())
def test_the_reference_engine_counts_as_the_timeline_of_the_same_run_does(data: st.DataObject) -> None:
    """Also where kernels wait by stream, and copies outlive their steps."""
    program, trace = data.draw(programs(single_waits=True))
    gpu = data.draw(gpus())
    prepared = prepared_program(program, trace, gpu)
    zero = np.zeros(1, dtype=np.int64)
    own = LinkTable(gpu, *np.full((3, 1), OWN))
    times, _ = run_points(prepared, own, zero, np.array([PPM]), zero, Engine.REFERENCE)
    timeline = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", ROOMY_BYTES))
    parts = spent(timeline)
    inner = [not step.in_classifier for step in program.steps]
    assert sum(parts) == timeline.iteration_time_ns == times.iteration_time_ns[0]
    assert min(parts) >= 0
    assert parts == (
        times.kernel_ns[0] - times.again_ns[0],
        times.copies_out_ns[0],
        times.copies_in_ns[0],
        times.late_fetches_ns[0],
        parts.host_ns,
        times.synchronise_ns[0],
        times.again_ns[0],
    )
    assert (times.copying_ns[0], times.beside_kernels[0]) == copy_time_of(timeline)
    assert times.feature_extraction_stall_ns[0] == sum(
        stall.duration_ns for stall in timeline.stalls if inner[stall.step]
    )


def test_a_segment_with_waits_for_single_pieces_by_hand() -> None:
    """Three copies out of 150 ns behind a's kernel of 100; the second kernel waits for the second of them, the host for
    the first. The third stands last: it runs beside the kernel, and nothing waits for it but the end."""
    header = TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"})
    trace = Trace(header, [row("a", "forward", 100), row("b", "forward", 200)])
    buffer = Buffer("x", 150, MemoryClass.FEATURE_MAPS, "a", False)
    copy = CopyOut(buffer, "a")
    commands: tuple[Command, ...] = (
        Kernel("a", "forward", "default"),
        StreamWait(Stream.COPY_OUT, Piece(Stream.COMPUTE, 1)),
        *(copy, copy, copy),
        HostWait(Piece(Stream.COPY_OUT, 1)),
        StreamWait(Stream.COMPUTE, Piece(Stream.COPY_OUT, 2)),
        Kernel("b", "forward", "default"),
    )
    gpu = gpu_of(host=HostCosts(kernel_ns=5, copy_ns=7, synchronise_ns=11, stream_wait_ns=3))
    program = Program((buffer,), commands, (Step("a", False, False, 0, len(commands)),), {}, ())
    prepared = prepared_program(program, trace, gpu)
    [(segment, count, _)] = prepared.lowered.segments
    assert (count, segment.closed, segment.rest_ns) == (1, False, 8)
    assert segment.items == (
        Launch(COMPUTE, 0, 5, 0),
        Launch(OUT, 0, 15, 0, after=((COMPUTE, 1),)),
        Wait(((OUT, 1),), 29),
        Launch(OUT, 0, 22, 0),
        Launch(COMPUTE, 1, 8, 1, after=((OUT, 2),)),
        Launch(OUT, 0, 29, 0),
    )
    links = LinkTable(gpu, *np.full((3, 1), OWN))
    zero = np.zeros(1, dtype=np.int64)
    times, engine = run_points(prepared, links, zero, np.array([PPM]), zero, Engine.AUTO)
    assert engine is Engine.VECTORISED
    # kernel 5..105, copies till 255, 405 and 555; stall 105..255 in the wait, which ends at 266; b is ready at 274 and
    # waits till 405, runs till 605, beside the third copy
    assert at(times, 0) == (605, 150 + 131, 300, 150, 605, 281, 150, 281, 0, 0, 11, 450, 1, 0)


def copies_of(*commands: Command) -> bool:
    """Whether copies out and in of such a program may meet."""
    trace = Trace(TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"}), [row("a", "forward", 100)])
    program = Program((X,), commands, (Step("a", False, False, 0, len(commands)),), {}, ())
    return prepared_program(program, trace, gpu_of()).lowered.both_ways


X = Buffer("x", 150, MemoryClass.FEATURE_MAPS, "a", False)


def test_copies_meet_unless_a_wait_keeps_them_apart() -> None:
    out, back, kernel = CopyOut(X, "a"), CopyIn(X, "a", "a"), Kernel("a", "forward", "default")
    first = Piece(Stream.COPY_OUT, 1)
    assert copies_of(out, kernel, back)
    assert copies_of(out, out, HostWait(first), back)
    assert not copies_of(out, HostWait(first), back)
    assert not copies_of(out, StreamWait(Stream.COPY_IN, first), back)
    behind_a_kernel = (StreamWait(Stream.COMPUTE, first), kernel, StreamWait(Stream.COPY_IN, Piece(Stream.COMPUTE, 1)))
    assert not copies_of(out, *behind_a_kernel, back)


def prepared_plan(study: Study) -> Plan:
    from vdnnsim.policies import make_policy

    return make_policy("vdnn-all(m)").plan(study.problem())


def test_two_copies_that_end_together_are_one_stall() -> None:
    """150 ns both, with nothing else to do: 150 ns are waited for, not 300."""
    gpu = gpu_of()
    host = replace(gpu.host, kernel_ns=0, copy_ns=0, synchronise_ns=0)
    gpu = replace(gpu, host=host)
    trace = Trace(TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"}), [row("a", "forward", 1)])
    out, back = (Buffer(name, 150, MemoryClass.FEATURE_MAPS, "a", False) for name in ("x", "y"))
    commands: tuple[Command, ...] = (
        CopyOut(out, "a"),
        CopyIn(back, "a", "a"),
        Synchronise((Stream.COPY_OUT, Stream.COPY_IN)),
    )
    program = Program((out, back), commands, (Step("a", False, False, 0, 3),), {}, ())
    prepared = prepared_program(program, trace, gpu)
    links = LinkTable(gpu, *np.full((3, 1), OWN))
    zero = np.zeros(1, dtype=np.int64)
    for engine in (Engine.AUTO, Engine.REFERENCE):
        times, _ = run_points(prepared, links, zero, np.array([PPM]), zero, engine)
        assert int(times.iteration_time_ns[0]) == int(times.stall_ns[0]) == int(times.copying_ns[0]) == 150


def test_a_segment_by_hand() -> None:
    """conv runs 100 ns, its copy out takes 150; then a lone kernel of 30. Host: 5 a launch, 7 a copy, 11 a wait."""
    gpu = gpu_of()
    host = replace(gpu.host, kernel_ns=5, copy_ns=7, synchronise_ns=11)
    gpu = replace(gpu, host=host, capacity_bytes=ENDLESS_BYTES)
    header = TraceHeader("test-gpu", "any", 1, "fp32", sources={"test": "made up"})
    trace = Trace(header, [row("a", "forward", 100), row("b", "forward", 30)])
    buffer = Buffer("x", 150, MemoryClass.FEATURE_MAPS, "a", False)
    commands: tuple[Command, ...] = (
        Kernel("a", "forward", "default"),
        CopyOut(buffer, "a"),
        Synchronise((Stream.COMPUTE, Stream.COPY_OUT)),
        Free(buffer),
        Kernel("b", "forward", "default", again=True),
        Synchronise((Stream.COMPUTE,)),
    )
    program = Program((buffer,), commands, (Step("a", False, False, 0, 4), Step("b", False, True, 4, 6)), {}, ())
    prepared = prepared_program(program, trace, gpu)
    links = LinkTable(gpu, *np.full((3, 1), OWN))
    zero = np.zeros(1, dtype=np.int64)
    times, engine = run_points(prepared, links, zero, np.array([PPM]), zero, Engine.AUTO)
    assert engine is Engine.VECTORISED
    # kernel 5..105, wait till 105 + 11; copy 12..162, stall 57, + 11 = 173; launch at 178, kernel till 208, + 11
    assert at(times, 0) == (219, 57, 130, 150 * 173 // 219, 173, 57, 150 * 173 // 219, 57, 0, 0, 11 + 11, 150, 1, 30)
