"""Timelines worked out by hand: three layers, a few round numbers, and every begin and end.

The network of most tests: a and b are CONVs of one and two channels, loss a SOFTMAX; 100 bytes of input data, 100 of
a's output, 200 of b's. Forward takes 100, 300 and 20 ns; backward 20 for loss, 200 + 150 (filter, data)
for b, 100 for a, whose data gradient nobody needs.
"""

from __future__ import annotations

from typing import Any

import pytest
import simpy

from support.cases import conv, gpu_of, join, layer, network_of, plan_of, row, trace_of
from support.render import copy_lines, kernel_lines, step_ends, wait_lines
from support.two_convs import NETWORK, TRACE
from vdnnsim.gpu import GpuProfile, HostCosts
from vdnnsim.machines import OutOfMemory
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.memory import make_pool
from vdnnsim.network import Kind, Network
from vdnnsim.policies.plan import Layout
from vdnnsim.program import (
    GPU_STREAMS,
    Buffer,
    CopyIn,
    CopyOut,
    Kernel,
    MemoryClass,
    Program,
    Step,
    Stream,
    Synchronise,
    build_program,
)
from vdnnsim.timeline import SETUP, Timeline
from vdnnsim.trace import Trace

ALL = ("a", "b", "loss")
OUT, IN = "copy out", "copy in"
_BUFFER = Buffer("map:x", 100, MemoryClass.FEATURE_MAPS, "a", False)


def run(gpu: GpuProfile, network: Network = NETWORK, trace: Trace = TRACE, **plan: object) -> Timeline:
    program = build_program(network, plan_of(network, trace, **plan))  # type: ignore[arg-type]
    return SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", gpu.capacity_bytes))


def test_baseline_runs_kernel_after_kernel() -> None:
    timeline = run(gpu_of(), layout=Layout.NETWORK_WIDE)
    assert kernel_lines(timeline) == [
        ("a", "forward", 0, 100),
        ("b", "forward", 100, 400),
        ("loss", "forward", 400, 420),
        ("loss", "backward", 420, 440),
        ("b", "backward_filter", 440, 640),
        ("b", "backward_data", 640, 790),
        ("a", "backward_filter", 790, 890),
    ]
    assert copy_lines(timeline) == []
    assert step_ends(timeline) == [100, 400, 420, 440, 790, 890]
    assert timeline.iteration_time_ns == 890
    assert wait_lines(timeline) == [(5, 0, 890, 0)]  # the host waits once, at the end, and only for kernels


def test_copies_shorter_than_their_kernels_cost_nothing_but_where_loss_is_too_short() -> None:
    """40 ns a copy. Each starts with the kernel of its layer; loss (20 ns) cannot hide the prefetch for b."""
    timeline = run(gpu_of(out_ns_per_100_bytes=40, in_ns_per_100_bytes=40), offload=ALL)
    assert kernel_lines(timeline) == [
        ("a", "forward", 0, 100),
        ("b", "forward", 100, 400),
        ("loss", "forward", 400, 420),
        ("loss", "backward", 420, 440),
        ("b", "backward_filter", 460, 660),
        ("b", "backward_data", 660, 810),
        ("a", "backward_filter", 810, 910),
    ]
    assert copy_lines(timeline) == [
        (OUT, "map:data", 0, 40),
        (OUT, "map:a", 100, 140),
        (IN, "map:a", 420, 460),
        (IN, "map:data", 460, 500),
    ]
    assert wait_lines(timeline) == [
        (0, 0, 100, 0),
        (1, 100, 400, 0),
        (2, 400, 420, 0),
        (3, 420, 460, 20),
        (4, 460, 810, 0),
        (5, 810, 910, 0),
    ]
    assert timeline.iteration_time_ns == 910


def test_a_layer_takes_the_longer_of_kernel_and_copy() -> None:
    """250 ns a copy: a's forward takes 250 instead of 100, loss's backward 250 instead of 20; b hides both of its."""
    timeline = run(gpu_of(out_ns_per_100_bytes=250, in_ns_per_100_bytes=250), offload=ALL)
    assert kernel_lines(timeline) == [
        ("a", "forward", 0, 100),
        ("b", "forward", 250, 550),
        ("loss", "forward", 550, 570),
        ("loss", "backward", 570, 590),
        ("b", "backward_filter", 820, 1020),
        ("b", "backward_data", 1020, 1170),
        ("a", "backward_filter", 1170, 1270),
    ]
    assert copy_lines(timeline) == [
        (OUT, "map:data", 0, 250),
        (OUT, "map:a", 250, 500),
        (IN, "map:a", 570, 820),
        (IN, "map:data", 820, 1070),
    ]
    assert [(step, stall) for step, _, _, stall in wait_lines(timeline)] == [
        (0, 150),
        (1, 0),
        (2, 0),
        (3, 230),
        (4, 0),
        (5, 0),
    ]
    assert timeline.iteration_time_ns == 1270


def test_each_direction_has_its_own_speed() -> None:
    timeline = run(gpu_of(out_ns_per_100_bytes=40, in_ns_per_100_bytes=250), offload=ALL)
    assert copy_lines(timeline) == [
        (OUT, "map:data", 0, 40),
        (OUT, "map:a", 100, 140),
        (IN, "map:a", 420, 670),
        (IN, "map:data", 670, 920),
    ]
    assert timeline.iteration_time_ns == 420 + 250 + 350 + 100


def test_an_x_that_is_not_back_is_fetched_alone_before_its_layer_runs() -> None:
    """loss prefetches nothing, so that b fetches its X first and only then prefetches for a and runs."""
    gpu = gpu_of(out_ns_per_100_bytes=250, in_ns_per_100_bytes=250)
    timeline = run(gpu, offload=ALL, deferred=("loss",))
    assert kernel_lines(timeline)[3:] == [
        ("loss", "backward", 570, 590),
        ("b", "backward_filter", 840, 1040),
        ("b", "backward_data", 1040, 1190),
        ("a", "backward_filter", 1190, 1290),
    ]
    assert copy_lines(timeline)[2:] == [(IN, "map:a", 590, 840), (IN, "map:data", 840, 1090)]
    # The late fetch is a wait of its own, all of it stall.
    assert wait_lines(timeline)[3:] == [(3, 570, 590, 0), (4, 590, 840, 250), (4, 840, 1190, 0), (5, 1190, 1290, 0)]
    assert timeline.iteration_time_ns == 1290


def test_fork_and_join() -> None:
    """a is read by b and by c, whose outputs d joins: CONCAT, only a view, runs nothing.

    a's map leaves with c, its last reader in forward. In backward loss prefetches it for c; it serves b as well. The
    second gradient of a's map is added to the first.
    """
    network = network_of(
        conv("a"), conv("b", "a"), conv("c", "a"), join(Kind.CONCAT, "d", "b", "c"), layer(Kind.SOFTMAX, "loss")
    )
    trace = trace_of(network, [row("loss", "backward", 60)], default_ns=50)
    timeline = run(gpu_of(), network, trace, offload=("a", "b", "c"))
    assert kernel_lines(timeline) == [
        ("a", "forward", 0, 50),
        ("b", "forward", 100, 150),  # a waits for its copy
        ("c", "forward", 150, 200),
        ("loss", "forward", 250, 300),  # c waits for its copy
        ("loss", "backward", 300, 360),
        ("c", "backward_filter", 400, 450),  # loss waits for the prefetch
        ("c", "backward_data", 450, 500),
        ("b", "backward_filter", 500, 550),
        ("b", "backward_data", 550, 600),
        ("a", "backward_filter", 600, 650),
    ]
    assert copy_lines(timeline) == [
        (OUT, "map:data", 0, 100),
        (OUT, "map:a", 150, 250),
        (IN, "map:a", 300, 400),
        (IN, "map:data", 500, 600),  # from b, hidden: c's window ends at b, a CONV whose X is there already
    ]


def test_a_copy_changes_its_rate_with_the_kernel_above_it() -> None:
    """1000 ns alone. Under b's filter gradient (300 ns, x1.5) 200 ns of it are done, under its data gradient (200 ns,
    x1.25) another 160; the remaining 640 run alone: 300 + 200 + 640."""
    trace = trace_of(
        NETWORK,
        [row("b", "backward_filter", 300, slow_in=1.5), row("b", "backward_data", 200, slow_in=1.25)],
        default_ns=0,
    )
    timeline = run(gpu_of(out_ns_per_100_bytes=1, in_ns_per_100_bytes=1000), trace=trace, offload=("a",))
    start = 1  # the copy out of a's X, beside a kernel that takes no time
    assert kernel_lines(timeline)[4:6] == [
        ("b", "backward_filter", start, start + 300),
        ("b", "backward_data", start + 300, start + 500),
    ]
    assert copy_lines(timeline)[-1] == (IN, "map:data", start, start + 1140)
    assert timeline.copies[-1].alone_ns == 1000


@pytest.mark.parametrize(
    ("alone_ns", "filter_ns", "data_ns", "slowdown", "end_ns"),
    [
        (1000, 100, 0, 1.3, 1024),  # 100/1.3 = 76.92 done, 923.08 to go: ends within the 1024th nanosecond
        (10, 7, 93, 1.5, 15),  # a seam between kernels of the same slowdown changes nothing: 10 x 1.5
        (10, 15, 85, 1.5, 15),  # the copy ends as the kernel does
        (10, 10, 0, 0.5, 5),  # a kernel under which copies are quicker than alone
        (999_999, 333_333, 111_111, 1.000001, 1_000_000),  # 444443.56 done in 444444 ns, 555555.44 to go
    ],
)
def test_a_copy_ends_at_the_nanosecond_in_which_it_is_done(
    alone_ns: int, filter_ns: int, data_ns: int, slowdown: float, end_ns: int
) -> None:
    trace = trace_of(
        NETWORK,
        [
            row("b", "backward_filter", filter_ns, slow_in=slowdown),
            row("b", "backward_data", data_ns, slow_in=slowdown),
        ],
        default_ns=0,
    )
    timeline = run(gpu_of(out_ns_per_100_bytes=1, in_ns_per_100_bytes=alone_ns), trace=trace, offload=("a",))
    copy = timeline.copies[-1]
    assert copy.end_ns - copy.begin_ns == end_ns


def test_a_copy_may_end_at_the_moment_when_two_kernels_meet() -> None:
    """The copy is done (100 ns x 1.5) at the very end of the filter gradient, as the slower data gradient begins: two
    changes of rate reach a copy that is already over."""
    trace = trace_of(
        NETWORK,
        [row("b", "backward_filter", 150, slow_in=1.5), row("b", "backward_data", 100, slow_in=2)],
        default_ns=0,
    )
    timeline = run(gpu_of(out_ns_per_100_bytes=1, in_ns_per_100_bytes=100), trace=trace, offload=("a",))
    copy = timeline.copies[-1]
    assert copy.end_ns - copy.begin_ns == 150
    assert timeline.iteration_time_ns == 1 + 150 + 100


def _copies_at_once(both_out: float, both_in: float, sizes: tuple[int, int], launch_ns: int = 0) -> Timeline:
    """One copy each way, put at the same moment (or the one in later by the cost of a launch)."""
    buffers = [
        Buffer(name, size, MemoryClass.FEATURE_MAPS, "a", False)
        for name, size in zip(("map:x", "map:y"), sizes, strict=True)
    ]
    commands = (
        CopyOut(buffers[0], "a"),
        CopyIn(buffers[1], "a", "a"),
        Synchronise((Stream.COPY_OUT, Stream.COPY_IN)),
    )
    program = Program(tuple(buffers), commands, (Step("a", False, False, 0, 3),), {}, ())
    gpu = gpu_of(both_out=both_out, both_in=both_in, host=HostCosts(copy_ns=launch_ns))
    return SimulatedMachine(TRACE, gpu).run(program, make_pool("best-fit", 1 << 20))


def test_both_directions_at_once_slow_each_other() -> None:
    """100 bytes each way. In, at x1.5, is done after 150 ns; out, at x2, is half-way and 25 ns short of the end:
    75 done at 150, 25 to go alone."""
    timeline = _copies_at_once(both_out=2, both_in=1.5, sizes=(100, 100))
    assert copy_lines(timeline) == [(IN, "map:y", 0, 150), (OUT, "map:x", 0, 175)]
    assert timeline.iteration_time_ns == 175


def test_one_direction_is_slowed_only_while_the_other_runs() -> None:
    """A launch takes 10 ns, so that the copy in (100 ns alone, x2) begins 10 ns after the copy out (200 ns, x1.25), and
    takes 200 ns since the other lasts as long. Out: 10 done alone, 160 in those 200 ns, the last 30 alone."""
    timeline = _copies_at_once(both_out=1.25, both_in=2, sizes=(200, 100), launch_ns=10)
    assert copy_lines(timeline) == [(OUT, "map:x", 10, 250), (IN, "map:y", 20, 220)]


@pytest.mark.parametrize("first", [CopyOut, CopyIn])
def test_of_copies_that_begin_and_end_together_the_one_given_first_comes_first(first: type) -> None:
    out, back = CopyOut(_BUFFER, "a"), CopyIn(_BUFFER, "a", "a")
    commands = (out, back) if first is CopyOut else (back, out)
    wait = Synchronise((Stream.COPY_OUT, Stream.COPY_IN))
    program = Program((_BUFFER,), (*commands, wait), (Step("a", False, False, 0, 3),), {}, ())
    timeline = SimulatedMachine(TRACE, gpu_of()).run(program, make_pool("best-fit", 1 << 20))
    expected = [(OUT, 0, 100), (IN, 0, 100)]
    found = [(copy.direction, copy.begin_ns, copy.end_ns) for copy in timeline.copies]
    assert found == (expected if first is CopyOut else expected[::-1])


def test_a_piece_of_work_costs_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven kernels and four copies, besides the beginning and the end of the host and that of the simulation."""
    events: list[simpy.Event] = []
    schedule = simpy.Environment.schedule

    def noting(self: simpy.Environment, event: simpy.Event, *arguments: Any, **named: Any) -> None:
        events.append(event)
        schedule(self, event, *arguments, **named)

    monkeypatch.setattr(simpy.Environment, "schedule", noting)
    timeline = run(gpu_of(), offload=ALL)
    assert (len(timeline.kernels), len(timeline.copies)) == (7, 4)
    assert len(events) == 7 + 4 + 3


def test_kernel_and_other_direction_slow_a_copy_together() -> None:
    """x1.5 for the kernel and x2 for the other direction make x3 while both last."""
    buffers = [Buffer(name, 100, MemoryClass.FEATURE_MAPS, "a", False) for name in ("map:x", "map:y")]
    trace = trace_of(NETWORK, [row("a", "forward", 90, slow_out=1.5)])
    commands = (
        Kernel("a", "forward", "default"),
        CopyOut(buffers[0], "a"),
        CopyIn(buffers[1], "a", "a"),
        Synchronise((Stream.COMPUTE, Stream.COPY_OUT, Stream.COPY_IN)),
    )
    program = Program(tuple(buffers), commands, (Step("a", False, False, 0, 4),), {}, ())
    gpu = gpu_of(out_ns_per_100_bytes=100, in_ns_per_100_bytes=100, both_out=2)
    timeline = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", 1 << 20))
    # out: 90 ns at x3 are 30 done; until 100 (end of in) at x2 5 more; 65 alone.
    assert copy_lines(timeline) == [(IN, "map:y", 0, 100), (OUT, "map:x", 0, 165)]


def test_opposite_copies_may_end_as_the_kernel_that_slows_them_ends() -> None:
    """All three end at 300: the kernel; the copy out, 100 alone, at x1.5 for the kernel and x2 for the other direction;
    the copy in, 150 alone, at x1.25 and x1.6. The kernel's end and the other's reach a copy that is already over."""
    buffers = [
        Buffer(f"map:{name}", size, MemoryClass.FEATURE_MAPS, "a", False) for name, size in (("x", 100), ("y", 150))
    ]
    trace = trace_of(NETWORK, [row("a", "forward", 300, slow_out=1.5, slow_in=1.25)])
    copies = (CopyOut(buffers[0], "a"), CopyIn(buffers[1], "a", "a"))
    for first, second in (copies, copies[::-1]):
        commands = (
            Kernel("a", "forward", "default"),
            *(first, second),
            Synchronise(GPU_STREAMS),
            *(first, second),
            Synchronise(GPU_STREAMS),
        )
        program = Program(tuple(buffers), commands, (Step("a", False, False, 0, len(commands)),), {}, ())
        gpu = gpu_of(both_out=2, both_in=1.6)
        timeline = SimulatedMachine(trace, gpu).run(program, make_pool("best-fit", 1 << 20))
        assert sorted(copy_lines(timeline)[:2]) == [(IN, "map:y", 0, 300), (OUT, "map:x", 0, 300)]
        # Later alone with each other: out at x2 until 200, in at x1.6, 125 of its 150 done by then.
        assert sorted(copy_lines(timeline)[2:]) == [(IN, "map:y", 300, 525), (OUT, "map:x", 300, 500)]


def test_host_costs() -> None:
    """kernel 5, copy 3, synchronise 10 (for each stream), allocate 1, free 1; copies of 40 ns.

    a forward: allocate (1), launch (6), copy (9), wait for the kernel (106) and for the copy, long done, at 10 each
    (126), free X (127). loss forward also frees b's map, which no backward kernel reads.
    """
    host = HostCosts(kernel_ns=5, copy_ns=3, synchronise_ns=10, allocate_ns=1, free_ns=1)
    timeline = run(gpu_of(out_ns_per_100_bytes=40, in_ns_per_100_bytes=40, host=host), offload=ALL)
    assert kernel_lines(timeline) == [
        ("a", "forward", 6, 106),
        ("b", "forward", 133, 433),  # 127 + allocate + launch
        ("loss", "forward", 459, 479),  # 433 + 2 waits + free + launch
        ("loss", "backward", 500, 520),  # 479 + wait + free; allocate, copy, allocate, launch
        ("b", "backward_filter", 555, 755),  # 544; allocate, copy, 2 x allocate, launch
        ("b", "backward_data", 755, 905),  # launched at 560
        ("a", "backward_filter", 934, 1034),  # 905 + 2 waits + 3 frees + allocate + launch
    ]
    assert copy_lines(timeline) == [
        (OUT, "map:data", 9, 49),
        (OUT, "map:a", 136, 176),
        (IN, "map:a", 494, 534),
        (IN, "map:data", 548, 588),
    ]
    assert wait_lines(timeline) == [
        (0, 9, 126, 0),
        (1, 136, 453, 0),
        (2, 459, 489, 0),
        (3, 500, 544, 14),  # the kernel is done at 520, the copy at 534
        (4, 560, 925, 0),
        (5, 934, 1044, 0),
    ]
    assert step_ends(timeline) == [126, 453, 489, 544, 925, 1047]  # the last one with its three frees


def test_a_kernel_may_bring_its_own_launch_and_start_and_copies_start_after_their_call() -> None:
    """b's forward costs the host 8 to launch and begins 3 after the call; its filter gradient costs 2 and begins 30
    after. Copies begin 7 after their call. Kernels without such numbers cost 5 and begin when launched."""
    own = [
        row("a", "forward", 100),
        row("b", "forward", 300)._replace(launch_ns=8, start_ns=3),
        row("loss", "forward", 20),
        row("b", "backward_filter", 200)._replace(launch_ns=2, start_ns=30),
        row("b", "backward_data", 150)._replace(launch_ns=400),
    ]
    gpu = gpu_of(out_ns_per_100_bytes=40, in_ns_per_100_bytes=40, host=HostCosts(kernel_ns=5, copy_start_ns=7))
    timeline = run(gpu, trace=trace_of(NETWORK, own), offload=ALL)
    assert kernel_lines(timeline) == [
        ("a", "forward", 5, 105),
        ("b", "forward", 108, 408),
        ("loss", "forward", 413, 433),
        ("loss", "backward", 438, 448),
        ("b", "backward_filter", 510, 710),  # 480, as the prefetch of loss ends, and 30
        ("b", "backward_data", 882, 1032),  # the host is through with both launches at 480 + 2 + 400
        ("a", "backward_filter", 1037, 1047),
    ]
    assert copy_lines(timeline) == [
        (OUT, "map:data", 12, 52),
        (OUT, "map:a", 105 + 8 + 7, 160),
        (IN, "map:a", 433 + 7, 480),
        (IN, "map:data", 480 + 7, 527),
    ]


def test_memory_records_have_the_hosts_times_and_the_pools_addresses() -> None:
    host = HostCosts(kernel_ns=5, copy_ns=3, synchronise_ns=10, allocate_ns=1, free_ns=1)
    timeline = run(gpu_of(out_ns_per_100_bytes=40, in_ns_per_100_bytes=40, host=host), offload=ALL)
    assert [(r.step, r.time_ns, r.taken, r.buffer, r.address, r.size_bytes) for r in timeline.memory[:10]] == [
        (SETUP, 0, True, "weights:a", 0, 4),
        (SETUP, 0, True, "weights:b", 512, 8),
        (SETUP, 0, True, "map:data", 1024, 100),
        (SETUP, 0, True, "map:loss", 1536, 200),
        (SETUP, 0, True, "gradient buffer:classifier:0", 2048, 200),
        (0, 1, True, "map:a", 2560, 100),
        (0, 127, False, "map:data", 1024, 100),
        (1, 128, True, "map:b", 1024, 200),  # the smallest hole that is large enough
        (1, 454, False, "map:a", 2560, 100),
        (2, 490, False, "map:b", 1024, 200),
    ]


def test_no_room_says_where_and_for_what() -> None:
    with pytest.raises(OutOfMemory) as caught:
        run(gpu_of(capacity_bytes=2560 + 512 - 1), offload=ALL)
    assert caught.value.where == "a forward"
    assert str(caught.value) == (
        "out of memory in a forward: no room for 100 B (map:a); of 3.1 KB in use: "
        "weights 12 B, feature maps 300 B, gradient maps 200 B; largest hole 0 B"
    )


def test_two_runs_in_one_process_are_equal() -> None:
    gpu = gpu_of(host=HostCosts(5, 3, 10, 1, 1))
    assert run(gpu, offload=ALL) == run(gpu, offload=ALL)


def test_all_times_are_plain_integers() -> None:
    timeline = run(gpu_of(host=HostCosts(5, 3, 10, 1, 1)), offload=ALL)
    numbers = [
        *timeline.step_ends_ns,
        timeline.iteration_time_ns,
        *(number for kernel in timeline.kernels for number in (kernel.begin_ns, kernel.end_ns)),
        *(number for copy in timeline.copies for number in (copy.begin_ns, copy.end_ns, copy.alone_ns)),
        *(number for wait in timeline.waits for number in wait),
        *(record.time_ns for record in timeline.memory),
    ]
    assert {type(number) for number in numbers} == {int}
