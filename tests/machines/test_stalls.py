"""A stall has one definition: by hand, whatever the order of the streams, and on both machines."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.cases import ROOMY_BYTES, conv, gpu_of, layer, network_of, plan_of, row, trace_of
from support.examples import tries
from support.strategies import gpus, programs
from vdnnsim.gpu import HostCosts
from vdnnsim.machines.device_memory import DeviceMemory
from vdnnsim.machines.real.timeline import Marks
from vdnnsim.machines.real.timeline import timeline_of as observed
from vdnnsim.machines.script import COMPUTE, Durations, script_of
from vdnnsim.machines.simulated import SimulatedMachine, simulate
from vdnnsim.machines.simulated_timeline import timeline_of
from vdnnsim.machines.stalls import Stall, stall_of
from vdnnsim.memory import make_pool
from vdnnsim.network import Kind
from vdnnsim.program import (
    GPU_STREAMS,
    Allocate,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
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
from vdnnsim.timeline import COPY_IN, COPY_OUT, StallRecord, Timeline
from vdnnsim.trace import Trace

NETWORK = network_of(conv("a"), layer(Kind.SOFTMAX, "loss"))
TRACE = trace_of(NETWORK, [row("a", "forward", 100)])
X, Y = (Buffer(f"map:{name}", 100, MemoryClass.FEATURE_MAPS, "a", False) for name in "xy")
RUN = Kernel("a", "forward", "default")
ALL = GPU_STREAMS
LAST = Buffer("last", 100, MemoryClass.FEATURE_MAPS, "a", False)


def run(*commands: Command, host: HostCosts | None = None, out_ns: int = 250, in_ns: int = 250) -> Timeline:
    """One step of these commands; the kernel takes 100 ns."""
    program = Program((X, Y), commands, (Step("a", False, False, 0, len(commands)),), {}, ())
    gpu = gpu_of(out_ns_per_100_bytes=out_ns, in_ns_per_100_bytes=in_ns, host=host or HostCosts())
    return SimulatedMachine(TRACE, gpu).run(program, make_pool("best-fit", ROOMY_BYTES))


@pytest.mark.parametrize("streams", [(Stream.COMPUTE, Stream.COPY_OUT), (Stream.COPY_OUT, Stream.COMPUTE)])
def test_the_order_in_which_streams_are_waited_for_does_not_matter(streams: tuple[Stream, ...]) -> None:
    """The kernel ends at 100, the copy at 250: 150, whether the call that waited for the kernel was over at 107 or the
    copy was waited for first."""
    timeline = run(RUN, CopyOut(X, "a"), Synchronise(streams), RUN, host=HostCosts(synchronise_ns=7))
    assert timeline.stalls == (StallRecord(0, 100, 250, COPY_OUT, "map:x", late=False),)


def test_kernels_that_run_beside_a_wait_for_copies_hide_it() -> None:
    """300 ns of kernels, and a wait for the copy alone, which ends at 250."""
    assert run(RUN, RUN, RUN, CopyIn(X, "a", "b"), Synchronise((Stream.COPY_IN,)), RUN).stalls == ()


def test_before_the_host_waits_there_is_no_stall() -> None:
    """The host is through with launching the copy at 150; the copy, begun then, ends at 400."""
    timeline = run(RUN, CopyOut(X, "a"), Synchronise(ALL), host=HostCosts(copy_ns=150))
    assert timeline.stalls == (StallRecord(0, 150, 400, COPY_OUT, "map:x", late=False),)


@pytest.mark.parametrize("streams", [ALL, ALL[::-1]])
@pytest.mark.parametrize(("in_ns", "binds"), [(249, COPY_OUT), (250, COPY_IN), (251, COPY_IN)])
def test_of_two_copies_the_stall_waits_for_the_one_that_ends_last(
    streams: tuple[Stream, ...], in_ns: int, binds: str
) -> None:
    timeline = run(RUN, CopyOut(X, "a"), CopyIn(Y, "a", "b"), Synchronise(streams), in_ns=in_ns)
    [stall] = timeline.stalls
    assert (stall.begin_ns, stall.end_ns, stall.direction) == (100, max(250, in_ns), binds)
    assert stall.buffer == ("map:x" if binds == COPY_OUT else "map:y")


def test_a_copy_still_under_way_at_the_end_counts_into_the_iteration_and_stalls_it() -> None:
    timeline = run(RUN, CopyOut(X, "a"), Synchronise((Stream.COMPUTE,)))
    assert timeline.iteration_time_ns == timeline.step_ends_ns[-1] == 250
    assert timeline.stalls == (StallRecord(0, 100, 250, COPY_OUT, "map:x", late=False),)


def test_what_an_engine_had_done_before_the_wait_is_no_stall() -> None:
    timeline = run(CopyOut(X, "a"), Synchronise((Stream.COPY_OUT,)), RUN, Synchronise(ALL))
    assert timeline.stalls == (StallRecord(0, 0, 250, COPY_OUT, "map:x", late=False),)


def test_a_fetch_is_late_where_its_own_layer_gives_it_or_another_put_it_off() -> None:
    """loss puts its prefetch for b off, so that b fetches its own. With b's prefetch for a put off as well, and a POOL
    between, the POOL prefetches: late, though not alone."""
    network = network_of(conv("a"), conv("b"), layer(Kind.SOFTMAX, "loss"))
    trace = trace_of(network)
    gpu = gpu_of(out_ns_per_100_bytes=1, in_ns_per_100_bytes=500)

    def late_ones(*deferred: str) -> list[tuple[str, bool]]:
        program = build_program(network, plan_of(network, trace, offload=("a", "b"), deferred=deferred))
        timeline = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", ROOMY_BYTES))
        return [(stall.buffer, stall.late) for stall in timeline.stalls if stall.direction == COPY_IN]

    assert late_ones() == [("map:a", False), ("map:data", False)]
    assert late_ones("loss") == [("map:a", True), ("map:data", False)]
    assert late_ones("loss", "b") == [("map:a", True), ("map:data", True)]


def test_a_prefetch_that_was_put_off_is_late_though_another_layer_gives_it() -> None:
    network = network_of(conv("a"), layer(Kind.LRN, "n"), layer(Kind.LRN, "m"), layer(Kind.SOFTMAX, "loss"))
    trace = trace_of(network)
    program = build_program(network, plan_of(network, trace, offload=("a",), deferred=("loss", "m")))
    [fetch] = [command for command in program.commands if isinstance(command, CopyIn)]
    assert (fetch.layer, fetch.for_layer, fetch.put_off, fetch.late) == ("n", "a", True, True)


def test_the_rule() -> None:
    assert stall_of(10, 50, []) is None
    assert stall_of(10, 50, [(50, 0)]) is None
    assert stall_of(10, 50, [(60, 0), (55, 1)]) == Stall(50, 60, 0)
    assert stall_of(70, 50, [(90, 0), (90, 1)]) == Stall(70, 90, 1)


@settings(max_examples=tries(80))
@given(st.data())
def test_the_real_machine_finds_the_stalls_that_the_simulated_one_does(data: st.DataObject) -> None:
    """The same moments, as a real machine would mark them, give the same stalls and waits and the same end."""
    program, trace = data.draw(programs(single_waits=True))
    # The real machine takes a kernel to be ready when its launch is over, whatever the trace says.
    trace = Trace(trace.header, [entry._replace(start_ns=None) for entry in trace.rows])
    steps = (*program.steps[:-1], program.steps[-1]._replace(last=len(program.commands) + 1))
    program = replace(program, commands=(*program.commands, Allocate(LAST)), steps=steps)
    gpu = data.draw(gpus())
    script = script_of(program, trace, gpu.host)
    durations = Durations(*script.copies_ns(gpu.link), [entry.duration_ns for entry in script.kernels])
    moments = simulate(script, durations, gpu)
    expected = timeline_of(script, durations, moments, DeviceMemory(make_pool("best-fit", ROOMY_BYTES)))
    waits = iter(zip(*moments.waits, strict=True))
    ready_ns = chain.from_iterable(
        [since_ns + after_ns for after_ns in its]
        for since_ns, its in zip([0, *moments.waits.ends_ns], script.work[COMPUTE].ready_ns, strict=True)
    )
    engines = ((Kernel, moments.kernels), (CopyOut, moments.outs), (CopyIn, moments.ins))
    spans = {kind: zip(*spans, strict=True) for kind, spans in engines}
    done_ns: list[int] = []
    marked: dict[int, tuple[int, int]] = {}
    for index, command in enumerate(program.commands):
        if isinstance(command, Synchronise | HostWait):
            begin_ns, end_ns = next(waits)
            done_ns[-1:] = [begin_ns] if done_ns else []
            done_ns.append(end_ns)
            continue
        done_ns.append(next(ready_ns) if isinstance(command, Kernel) else 0)
        if type(command) in spans:
            marked[index] = next(spans[type(command)])
    done_ns[-1] = moments.host_end_ns
    memory = DeviceMemory(make_pool("best-fit", ROOMY_BYTES))
    found = observed(program, Marks(0, done_ns, marked), memory, [0] * len(program.commands))
    assert found.stalls == expected.stalls
    assert found.kernels == expected.kernels
    assert found.step_ends_ns == expected.step_ends_ns
    assert found.iteration_time_ns == expected.iteration_time_ns


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_copies_out_a_kernel_on_the_real_machine_waits_for_the_later_one(order: tuple[int, int]) -> None:
    waits = (StreamWait(Stream.COMPUTE, Piece(Stream.COPY_OUT, number)) for number in order)
    commands = (CopyOut(X, "a"), CopyOut(Y, "a"), *waits, RUN)
    program = Program((), commands, (Step("a", False, False, 0, len(commands)),), {}, ())
    marks = Marks(0, [0] * len(commands), {0: (0, 250), 1: (250, 500), 4: (500, 600)})
    timeline = observed(program, marks, DeviceMemory(make_pool("best-fit", ROOMY_BYTES)), [0] * len(commands))
    assert timeline.stalls == (StallRecord(0, 0, 500, COPY_OUT, "map:y", late=False),)
