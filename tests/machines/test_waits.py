"""Waits for one piece of work, by the host and by streams: timelines of three layers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.cases import ROOMY_BYTES, conv, gpu_of, layer, network_of, row, trace_of
from vdnnsim.gpu import AfterWait, HostCosts
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.metrics import Spent, spent
from vdnnsim.network import Kind
from vdnnsim.program import (
    GPU_STREAMS,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    HostWait,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.timeline import COPY_IN, COPY_OUT, StallRecord, Timeline, WaitRecord
from vdnnsim.trace import Trace

NETWORK = network_of(conv("a"), conv("b"), conv("c"), layer(Kind.SOFTMAX, "loss"))
X, Y = (Buffer(f"map:{name}", 100, MemoryClass.FEATURE_MAPS, "a", False) for name in "xy")
A, B, C = (Kernel(name, "forward", "default") for name in "abc")
OUT, IN = CopyOut(X, "a"), CopyIn(X, "b", "a")
COSTS = HostCosts(5, 3, synchronise_ns=10, allocate_ns=2, free_ns=1, stream_wait_ns=2)
"""A launch 5, a copy's call 3, a wait 10, a stream's wait 2, a free 1."""


def kernel(number: int) -> Piece:
    return Piece(Stream.COMPUTE, number)


def out(number: int) -> Piece:
    return Piece(Stream.COPY_OUT, number)


def back(number: int) -> Piece:
    return Piece(Stream.COPY_IN, number)


def run(
    *layers: tuple[Command, ...],
    host: HostCosts = COSTS,
    out_ns: int = 250,
    in_ns: int = 250,
    slow_out: float = 1,
    slow_in: float = 1,
    durations: tuple[int, int, int] = (100, 100, 100),
) -> Timeline:
    """Kernels take 100 ns and copies 250, where nothing else is said."""
    rows = [
        row(name, "forward", ns, slow_out=slow_out, slow_in=slow_in) for name, ns in zip("abc", durations, strict=True)
    ]
    trace = Trace(trace_of(NETWORK).header, rows)
    commands: list[Command] = []
    steps = []
    for name, its in zip("abc", layers, strict=True):
        steps.append(Step(name, False, False, len(commands), len(commands) + len(its)))
        commands += its
    program = Program((X, Y), tuple(commands), tuple(steps), {}, ())
    gpu = gpu_of(out_ns_per_100_bytes=out_ns, in_ns_per_100_bytes=in_ns, host=host)
    timeline = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", ROOMY_BYTES))
    assert sum(spent(timeline)) == timeline.iteration_time_ns
    return timeline


def spans(timeline: Timeline) -> list[tuple[int, int]]:
    return [(record.begin_ns, record.end_ns) for record in timeline.kernels]


def copies(timeline: Timeline) -> list[tuple[int, int]]:
    return [(record.begin_ns, record.end_ns) for record in timeline.copies]


def test_a_copy_out_outlives_its_layer_and_the_host_waits_for_it_two_layers_later() -> None:
    """The copy is given at 10 and waits for a's kernel; b runs beside it; c is launched when the block is free."""
    timeline = run((A, StreamWait(Stream.COPY_OUT, kernel(1)), OUT), (B,), (HostWait(out(1)), Free(X), C))
    assert copies(timeline) == [(105, 355)]
    assert spans(timeline) == [(5, 105), (105, 205), (371, 471)]
    assert timeline.waits == (WaitRecord(2, 15, 365, 2),)
    assert timeline.memory[-1].time_ns == 366
    assert timeline.stalls == (StallRecord(2, 205, 355, COPY_OUT, "map:x", late=False),)
    assert timeline.step_ends_ns == (105, 205, 471)
    assert spent(timeline) == Spent(300, 150, 0, 0, 5 + 6, 10)


@pytest.mark.parametrize("late", [False, True])
def test_a_kernel_waits_by_stream_for_a_copy_in(late: bool) -> None:
    """b is given at 15, and idle from 105 on; c follows it, and the host has gone on."""
    fetch = IN._replace(put_off=late)
    timeline = run((A, fetch), (StreamWait(Stream.COMPUTE, back(1)), B), (C,))
    assert copies(timeline) == [(8, 258)]
    assert spans(timeline) == [(5, 105), (258, 358), (358, 458)]
    assert timeline.stalls == (StallRecord(1, 105, 258, COPY_IN, "map:x", late),)
    assert timeline.waits == ()
    assert timeline.step_ends_ns == (105, 358, 458)
    assert spent(timeline) == Spent(300, 0, 0 if late else 153, 153 if late else 0, 5, 0)


def test_a_kernel_that_waits_stalls_only_from_when_it_is_given() -> None:
    """The launch is over at 210, the kernel before it ended at 105."""
    host = COSTS.__class__(kernel_ns=5, stream_wait_ns=200)
    timeline = run((A, IN), (StreamWait(Stream.COMPUTE, back(1)), B), (C,), host=host)
    assert timeline.stalls == (StallRecord(1, 210, 255, COPY_IN, "map:x", late=False),)


def test_a_copy_in_waits_for_a_kernel_and_with_it_what_follows_on_its_stream() -> None:
    """Both copies are given by 13; the first waits for a's kernel. Nothing waits for them but the end."""
    timeline = run((A,), (StreamWait(Stream.COPY_IN, kernel(1)), IN, IN._replace(buffer=Y)), (B, C))
    assert copies(timeline) == [(105, 355), (355, 605)]
    assert spans(timeline) == [(5, 105), (105, 205), (205, 305)]
    assert timeline.stalls == (StallRecord(2, 305, 605, COPY_IN, "map:y", late=False),)
    assert timeline.iteration_time_ns == timeline.step_ends_ns[-1] == 605


def test_waits_for_what_is_done_cost_their_calls_alone() -> None:
    """All is done when the host is back, at 268: each further wait of the host takes 10, of a stream 2."""
    done = (
        HostWait(out(1)),
        HostWait(kernel(1)),
        StreamWait(Stream.COMPUTE, out(1)),
        StreamWait(Stream.COPY_IN, out(1)),
    )
    timeline = run((A, OUT), (HostWait(out(1)), *done, B), (IN, C))
    assert copies(timeline) == [(8, 258), (300, 550)]
    assert timeline.waits == (WaitRecord(1, 8, 268, 1), WaitRecord(1, 268, 278, 1), WaitRecord(1, 278, 288, 1))
    assert spans(timeline) == [(5, 105), (297, 397), (397, 497)]
    assert [stall[1:4] for stall in timeline.stalls] == [(105, 258, COPY_OUT), (497, 550, COPY_IN)]


def test_a_copy_in_flight_at_the_end_counts_into_the_iteration() -> None:
    timeline = run((A,), (B, StreamWait(Stream.COPY_OUT, kernel(2)), OUT), (C,))
    assert copies(timeline) == [(205, 455)]
    assert timeline.step_ends_ns == (105, 205, 455)
    assert timeline.iteration_time_ns == 455
    assert timeline.stalls == (StallRecord(2, 305, 455, COPY_OUT, "map:x", late=False),)


def test_a_wait_for_a_copy_does_not_wait_for_the_copies_behind_it() -> None:
    timeline = run((A, OUT, CopyOut(Y, "a")), (HostWait(out(1)), B), (HostWait(out(2)), C))
    assert timeline.waits == (WaitRecord(1, 11, 268, 1), WaitRecord(2, 273, 518, 2))
    assert timeline.stalls == (
        StallRecord(1, 105, 258, COPY_OUT, "map:x", late=False),
        StallRecord(2, 373, 508, COPY_OUT, "map:y", late=False),
    )


def test_a_kernel_behind_a_copy_in_behind_a_copy_out_behind_a_kernel() -> None:
    timeline = run(
        (A, StreamWait(Stream.COPY_OUT, kernel(1)), OUT),
        (StreamWait(Stream.COPY_IN, out(1)), IN),
        (B, StreamWait(Stream.COMPUTE, back(1)), C),
    )
    assert copies(timeline) == [(105, 355), (355, 605)]
    assert spans(timeline) == [(5, 105), (105, 205), (605, 705)]
    assert timeline.stalls == (StallRecord(2, 205, 605, COPY_IN, "map:x", late=False),)


@pytest.mark.parametrize(("in_ns", "binds"), [(249, COPY_OUT), (251, COPY_IN)])
def test_of_two_copies_the_stall_of_a_kernel_is_for_the_one_that_ends_last(in_ns: int, binds: str) -> None:
    """Both begin at 0; in a tie it is the copy in."""
    waits = (StreamWait(Stream.COMPUTE, out(1)), StreamWait(Stream.COMPUTE, back(1)))
    timeline = run((OUT, IN), (*waits, A), (B,), in_ns=in_ns, host=HostCosts())
    assert timeline.stalls == (StallRecord(1, 0, max(250, in_ns), binds, "map:x", late=False),)


def test_the_host_that_waits_beside_a_waiting_kernel_makes_no_stall_of_its_own() -> None:
    """b waits for the copy in until 250; the host, meanwhile, for the copy out until 400, b having ended at 350."""
    layers = ((A, IN, CopyOut(Y, "a")), (StreamWait(Stream.COMPUTE, back(1)), B), (HostWait(out(1)), C))
    timeline = run(*layers, host=HostCosts(), out_ns=400)
    assert timeline.stalls == (
        StallRecord(1, 100, 250, COPY_IN, "map:x", late=False),
        StallRecord(2, 350, 400, COPY_OUT, "map:y", late=False),
    )
    shorter = run(*layers, host=HostCosts(), out_ns=200)
    assert shorter.stalls == (StallRecord(1, 100, 250, COPY_IN, "map:x", late=False),)


def test_waits_compose_with_kernels_that_slow_copies() -> None:
    """The copy begins when a is over, is half done when b, which slows it twofold, ends at 200, and c waits for it."""
    slowed = (StreamWait(Stream.COPY_OUT, kernel(1)), OUT)
    timeline = run(
        (A, *slowed), (B,), (StreamWait(Stream.COMPUTE, out(1)), C), host=HostCosts(), out_ns=100, slow_out=2
    )
    assert copies(timeline) == [(100, 250)]
    assert spans(timeline) == [(0, 100), (100, 200), (250, 350)]
    assert timeline.stalls == (StallRecord(2, 200, 250, COPY_OUT, "map:x", late=False),)


def test_pieces_that_take_no_time() -> None:
    timeline = run(
        (A, StreamWait(Stream.COPY_OUT, kernel(1)), OUT),
        (StreamWait(Stream.COMPUTE, out(1)), B, HostWait(kernel(2))),
        (C, Synchronise(GPU_STREAMS)),
        durations=(0, 0, 0),
        host=HostCosts(),
    )
    assert copies(timeline) == [(0, 250)]
    assert spans(timeline) == [(0, 0), (250, 250), (250, 250)]
    assert timeline.stalls == (StallRecord(1, 0, 250, COPY_OUT, "map:x", late=False),)


def test_after_a_wait_for_one_piece_the_host_is_as_cold_as_after_any() -> None:
    """Standing 100 makes a launch 40 dearer, a copy's call 20; the iteration begins as cold as that."""
    cold = AfterWait((0, 100), (0, 40), (0, 20), (0, 0), (0, 0))
    timeline = run((A,), (HostWait(kernel(1)), B), (HostWait(kernel(2)), C), host=HostCosts(after_wait=cold))
    assert spans(timeline) == [(40, 140), (180, 280), (320, 420)]


def test_calls_that_put_nothing_on_a_stream_delay_what_the_host_gives_after_them() -> None:
    """A hook of 30 and a call whose cost nobody says: the copy is given at 38 instead of 8. Where the hook takes 200,
    the engine is idle from 105 on until b is launched."""
    host = HostCosts(kernel_ns=5, copy_ns=3, calls_ns={"hook": 30, "other": 9})
    timeline = run((A,), (HostCall("hook"), HostCall("unknown"), OUT, B), (HostCall("hook"), Free(X), C), host=host)
    assert copies(timeline) == [(38, 288)]
    assert spans(timeline) == [(5, 105), (105, 205), (205, 305)]
    assert timeline.memory[-1].time_ns == 73
    assert timeline.waits == ()
    dear = run((A,), (HostCall("hook"), B), (C,), host=HostCosts(kernel_ns=5, calls_ns={"hook": 200}))
    assert spans(dear) == [(5, 105), (210, 310), (310, 410)]
    assert spent(dear).host_ns == 5 + 105


def test_a_call_that_puts_nothing_on_a_stream_makes_none_of_the_others_warm() -> None:
    """It stands between the first launch and the wait, and costs the same after a wait as before it."""
    cold = AfterWait((0, 100), (0, 40), (0, 20), (0, 0), (0, 0))
    host = HostCosts(after_wait=cold, calls_ns={"hook": 7})
    timeline = run((HostCall("hook"), A), (HostWait(kernel(1)), HostCall("hook"), B), (C,), host=host)
    assert spans(timeline) == [(47, 147), (194, 294), (294, 394)]


def test_a_stream_that_waited_for_another_goes_on_a_little_later() -> None:
    """6 after a's kernel the copy out begins, and 6 after the copy in b; the stall is for the copies, the rest the
    host's: nobody waits for a stream's start."""
    host = replace(COSTS, stream_start_ns=6)
    timeline = run((A, StreamWait(Stream.COPY_OUT, kernel(1)), OUT), (B,), (C,), host=host)
    assert copies(timeline) == [(111, 361)]
    timeline = run((A, IN), (StreamWait(Stream.COMPUTE, back(1)), B), (C,), host=host)
    assert copies(timeline) == [(8, 258)]
    assert spans(timeline) == [(5, 105), (264, 364), (364, 464)]
    assert timeline.stalls == (StallRecord(1, 105, 258, COPY_IN, "map:x", late=False),)
    assert spent(timeline) == Spent(300, 0, 153, 0, 5 + 6, 0)


def test_a_stream_that_waits_for_what_has_been_done_for_long_goes_on_at_once() -> None:
    """The copy is given at 210, when the kernel has been done for 105; given 3 after its end it begins 6 after it."""
    host = HostCosts(kernel_ns=5, stream_wait_ns=200, copy_ns=5, stream_start_ns=6)
    timeline = run((A,), (StreamWait(Stream.COPY_OUT, kernel(1)), OUT), (B,), host=host)
    assert copies(timeline) == [(210, 460)]
    host = replace(host, stream_wait_ns=98)
    timeline = run((A,), (StreamWait(Stream.COPY_OUT, kernel(1)), OUT), (B,), host=host)
    assert copies(timeline) == [(111, 361)]
