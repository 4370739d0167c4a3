"""Several GPUs on shared links: timelines of two worked out by hand, and what holds of any shares.

The network and its times are those of `test_simulated`: a copy of 100 bytes takes 40 ns alone, so that it asks for 2.5
bytes a nanosecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.cases import gpu_of, plan_of
from support.examples import tries
from support.render import copy_lines, kernel_lines
from support.strategies import Case, cases
from support.two_convs import NETWORK, TRACE
from vdnnsim.gpu import GpuProfile
from vdnnsim.iteration import Compression
from vdnnsim.machines import DeviceMemory
from vdnnsim.machines.fair_shares import Asked, Limit, Load, Sharing, max_min_shares
from vdnnsim.machines.simulated import SimulatedMachine
from vdnnsim.machines.simulated_host import SimulatedHost
from vdnnsim.memory import make_pool
from vdnnsim.policies.plan import Layout
from vdnnsim.program import (
    Buffer,
    CopyIn,
    CopyOut,
    MemoryClass,
    Program,
    Step,
    Stream,
    Synchronise,
    build_program,
)
from vdnnsim.timeline import Timeline
from vdnnsim.topology import Most, SharedLink, Topology, load_topology
from vdnnsim.trace import Trace
from vdnnsim.units import PPM

GB = 10**9
OUT, IN = "copy out", "copy in"
PROGRAM = build_program(NETWORK, plan_of(NETWORK, TRACE, offload=("a", "b", "loss")))
GPU = gpu_of(out_ns_per_100_bytes=40, in_ns_per_100_bytes=40)


def one_link(gpus: int, **most: Any) -> Topology:
    return Topology("test", "test", {"memory": SharedLink("memory", "memory", **most)}, ("memory",) * gpus)


def no_sharing(gpus: int) -> Topology:
    """GPUs that meet no limit but their own links'."""
    return Topology("nothing-shared", "nothing shared", {"memory": SharedLink("memory", "memory")}, ("memory",) * gpus)


def run(
    topology: Topology,
    starts_ns: Sequence[int] = (0, 0),
    program: Program = PROGRAM,
    trace: Trace = TRACE,
    gpu: GpuProfile = GPU,
) -> list[Timeline]:
    return SimulatedHost(trace, gpu, topology).run(
        program, lambda: DeviceMemory(make_pool("best-fit", 2**40)), starts_ns
    )


def test_two_that_begin_together_have_half_of_the_link_each() -> None:
    """The link carries what one asks for: every copy takes 80 instead of 40, out hidden behind kernels; b's backward
    waits until 500 instead of 460."""
    first, second = run(one_link(2, out_bytes_per_s=5 * GB // 2, in_bytes_per_s=5 * GB // 2))
    assert first == second
    assert copy_lines(first) == [
        (OUT, "map:data", 0, 80),
        (OUT, "map:a", 100, 180),
        (IN, "map:a", 420, 500),
        (IN, "map:data", 500, 580),
    ]
    assert kernel_lines(first)[4:] == [
        ("b", "backward_filter", 500, 700),
        ("b", "backward_data", 700, 850),
        ("a", "backward_filter", 850, 950),
    ]
    assert first.iteration_time_ns == 950


def test_compressed_copies_ask_the_link_for_what_is_on_the_wire() -> None:
    """Half of each copy, 20 ns alone, at the link's own 2.5 bytes a nanosecond: 40 of two at once."""
    squeezed = replace(PROGRAM, compression=Compression({"map:data": PPM // 2, "map:a": PPM // 2}))
    first, second = run(one_link(2, out_bytes_per_s=5 * GB // 2, in_bytes_per_s=5 * GB // 2), program=squeezed)
    assert first == second
    assert copy_lines(first) == [
        (OUT, "map:data", 0, 40),
        (OUT, "map:a", 100, 140),
        (IN, "map:a", 420, 460),
        (IN, "map:data", 460, 500),
    ]


def test_one_that_begins_later_shares_only_while_both_copy() -> None:
    """From 30 on the first has 10 of its 40 ns left, which take 20; the second has 10 done by 50, and 30 to go. Its
    times count from its own start."""
    first, second = run(one_link(2, out_bytes_per_s=5 * GB // 2), (0, 30))
    assert copy_lines(first)[0] == (OUT, "map:data", 0, 50)
    assert copy_lines(second)[0] == (OUT, "map:data", 0, 50)
    assert copy_lines(first)[1] == (OUT, "map:a", 100, 150)
    assert kernel_lines(first) == kernel_lines(second) == kernel_lines(run(no_sharing(1), (0,))[0])


def test_what_is_counted_both_ways_slows_only_where_both_go() -> None:
    """The second begins its forward when the first begins its backward, 420 later: out and in meet from 420 to 440 and
    on, and 2.5 bytes a nanosecond of both together leave half to each."""
    total = one_link(2, total_bytes_per_s=5 * GB // 2)
    first, second = run(total, (0, 420))
    assert copy_lines(first)[:2] == [(OUT, "map:data", 0, 40), (OUT, "map:a", 100, 140)]
    assert copy_lines(first)[2] == (IN, "map:a", 420, 500)
    assert copy_lines(second)[0] == (OUT, "map:data", 0, 80)
    both = Topology(
        "test",
        "test",
        {"memory": SharedLink("memory", "memory", both_in_bytes_per_s=5 * GB // 4)},
        ("memory", "memory"),
    )
    first, second = run(both, (0, 420))
    assert copy_lines(second)[0] == (OUT, "map:data", 0, 40)
    assert copy_lines(first)[2] == (IN, "map:a", 420, 480)  # half as fast until 460, when the other way has ended


def test_both_ways_of_one_gpu_share_what_a_link_carries_in_all() -> None:
    """2.5 bytes a nanosecond out and as many in, of which a link carries 2.5 together."""
    copied = Buffer("x", 100, MemoryClass.FEATURE_MAPS, "a", False)
    commands = (CopyOut(copied, "a"), CopyIn(copied, "a", "a"), Synchronise((Stream.COPY_OUT, Stream.COPY_IN)))
    program = Program((copied,), commands, (Step("a", False, False, 0, 3),), {}, ())
    [alone] = run(one_link(1, total_bytes_per_s=5 * GB // 2), (0,), program)
    assert copy_lines(alone) == [(IN, "x", 0, 80), (OUT, "x", 0, 80)]


def test_copies_out_slow_those_in_of_the_other_gpu_and_not_their_own() -> None:
    """Beside 2.5 bytes a nanosecond out copies in have half. The second begins its forward when the first begins its
    backward, 420 later, so that a's copy in has done 20 of its 40 ns by 460, where the other way ends."""
    link = one_link(2, in_beside_out=((5 * GB // 2, PPM // 2),))
    first, second = run(link, (0, 420))
    assert copy_lines(first)[2:] == [(IN, "map:a", 420, 480), (IN, "map:data", 480, 520)]
    assert copy_lines(second) == copy_lines(run(no_sharing(1), (0,))[0])
    less = SharedLink("less", "memory", in_beside_out=((5 * GB // 2, 2 * PPM // 5),))
    both = Topology("test", "two memories", {"memory": link.links["memory"], "less": less}, ("memory", "less") * 2)
    assert [one.iteration_time_ns for one in run(both, (0, 0, 420, 420))] == [930, 934, 910, 910]
    slow = gpu_of(out_ns_per_100_bytes=250, in_ns_per_100_bytes=250, both_out=1.5, both_in=2)
    assert run(link.first(1), (0,), gpu=slow) == run(no_sharing(1), (0,), gpu=slow)


def test_a_gpus_own_duplex_lowers_what_it_asks_for() -> None:
    """Behind a link that is no narrower than what both ask for, two GPUs whose copies slow each other run as one."""
    slow = gpu_of(out_ns_per_100_bytes=250, in_ns_per_100_bytes=250, both_out=1.5, both_in=2)
    [alone] = run(no_sharing(1), (0,), gpu=slow)
    assert run(one_link(2, out_bytes_per_s=2 * GB, in_bytes_per_s=2 * GB), gpu=slow) == [alone, alone]


@settings(max_examples=8)
@given(cases())
def test_gpus_that_share_nothing_run_as_one_and_equal_ones_run_alike(case: Case) -> None:
    program = build_program(case.network, case.plan)
    alone = SimulatedMachine(case.trace, case.gpu).run(program, make_pool("best-fit", 2**40))
    wide = one_link(2, out_bytes_per_s=2**62, in_bytes_per_s=2**62)
    for topology, starts_ns in ((no_sharing(1), (0,)), (wide, (0, 7))):
        for timeline in run(topology, starts_ns, program, case.trace, case.gpu):
            assert timeline == alone
    narrow = one_link(3, out_bytes_per_s=GB, in_bytes_per_s=2 * GB)
    host = SimulatedHost(case.trace, case.gpu, narrow)
    [together_ns, *others_ns] = host.iteration_times_ns(program, (0, 0, 0))
    assert others_ns == [together_ns] * 2
    apart = Topology(
        "apart",
        "apart",
        dict(narrow.links) | {name: SharedLink(name, "root", "memory") for name in "abc"},
        tuple("abc"),
    )
    assert SimulatedHost(case.trace, case.gpu, apart).iteration_times_ns(program, (0, 0, 0)) == [together_ns] * 3
    pairs = Topology(
        "pairs",
        "two pairs, alike but for their names",
        {name: SharedLink(name, "memory", out_bytes_per_s=GB) for name in ("x", "y")},
        ("x", "y", "y", "x"),
    )
    starts_ns = (0, 0, 3, 3)
    first, second, third, fourth = SimulatedHost(case.trace, case.gpu, pairs).iteration_times_ns(program, starts_ns)
    assert (first, third) == (second, fourth)
    by_itself = SimulatedHost(case.trace, case.gpu, one_link(2, out_bytes_per_s=GB))
    assert by_itself.iteration_times_ns(program, (0, 3)) == [first, fourth]


@settings(max_examples=6)
@given(cases(layout=Layout.LAYER_WISE), st.integers(0, 500))
def test_no_link_carries_more_than_it_can(case: Case, later_ns: int) -> None:
    """Bytes of all copies out, over the time from the first to the last of them, of two GPUs whatever they begin."""
    program = build_program(case.network, case.plan)
    starts_ns = (0, later_ns)
    for most in (GB // 10, GB, 10 * GB):
        timelines = run(one_link(2, out_bytes_per_s=most), starts_ns, program, case.trace, case.gpu)
        copies = [
            (copy.begin_ns + start_ns, copy.end_ns + start_ns, copy.size_bytes)
            for timeline, start_ns in zip(timelines, starts_ns, strict=True)
            for copy in timeline.copies
            if copy.direction == OUT
        ]
        if copies:
            begins_ns, ends_ns, sizes_bytes = zip(*copies, strict=True)
            assert sum(sizes_bytes) * 10**9 <= 1.001 * most * (max(ends_ns) - min(begins_ns))


@st.composite
def curves(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    """What copies out leave of copies in."""
    outs = sorted(draw(st.sets(st.integers(1, 5 * GB), max_size=3)))
    shares = sorted(draw(st.lists(st.integers(1, PPM), min_size=len(outs), max_size=len(outs))), reverse=True)
    return tuple(zip(outs, shares, strict=True))


@settings(max_examples=tries(40))
@given(st.data())
def test_no_copy_has_more_where_copies_out_slow_those_in(data: st.DataObject) -> None:
    """Than where they do not; those out and those of a GPU by itself have as much, and one that stands for several has
    what each of these would."""
    limits = st.sampled_from([None, GB // 2, GB, 2 * GB])
    slowing = {
        name: SharedLink(name, "switch", to, *[data.draw(limits) for _ in range(5)], in_beside_out=data.draw(curves()))
        for name, to in (("memory", None), ("left", "memory"), ("right", "memory"))
    }
    plain = {name: replace(link, in_beside_out=()) for name, link in slowing.items()}
    ways = [(gpu, way) for gpu in range(4) for way in (0, 1)]
    streams = data.draw(st.lists(st.sampled_from(ways), unique=True, min_size=4).map(sorted))
    asked = [(stream, data.draw(st.integers(GB // 2, 3 * GB)), 1) for stream in streams]

    def shared(links: dict[str, SharedLink], asked: Sequence[Asked]) -> dict[tuple[int, int], int]:
        sharing = Sharing(Topology("test", "test", links, ("left", "right", "left", "left")))
        return dict(zip((stream for stream, _, _ in asked), sharing.slowdowns_ppm(asked), strict=True))

    found, fair = shared(slowing, asked), shared(plain, asked)
    assert all(slowdown_ppm >= fair[stream] for stream, slowdown_ppm in found.items())
    assert all(slowdown_ppm == fair[stream] for stream, slowdown_ppm in found.items() if stream[1] == 0)
    alone = [one for one in asked if one[0][0] == 0]
    assert shared(slowing, alone) == shared(plain, alone)
    doubled = [(stream, demand, 2) for stream, demand, _ in alone]
    apart = [*alone, *(((2, way), demand, 1) for (_, way), demand, _ in alone)]
    assert shared(slowing, doubled).items() <= shared(slowing, apart).items()


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[int], list[Limit]]:
    demands = draw(st.lists(st.integers(1, 1000), min_size=1, max_size=6))
    places = st.lists(st.integers(0, len(demands) - 1), min_size=1, unique=True)
    limits = draw(st.lists(st.builds(Limit, st.integers(1, 2000), places), max_size=5))
    return demands, limits


@settings(max_examples=60)
@given(networks())
def test_shares_are_max_min_fair(given_: tuple[list[int], list[Limit]]) -> None:
    """Nobody has more than it asks for, no link carries more than it can; and whoever has less crosses a link that is
    full, to a rounding, on which nobody has more."""
    demands, limits = given_
    shares = max_min_shares(demands, limits)
    for limit in limits:  # which is found by a shorter way where it is the only one
        assert max_min_shares(demands, [limit]) == max_min_shares(demands, [limit, limit])
    assert all(0 <= share <= demand for share, demand in zip(shares, demands, strict=True))
    assert all(sum(shares[stream] for stream in limit.streams) <= limit.most for limit in limits)
    for stream, (share, demand) in enumerate(zip(shares, demands, strict=True)):
        if share < demand:
            assert any(
                stream in limit.streams
                and limit.most - sum(shares[other] for other in limit.streams) < len(demands)
                and all(shares[other] <= share + 1 for other in limit.streams)
                for limit in limits
            )


def gigabytes(topology: str, demands: dict[tuple[int, int], float]) -> list[float]:
    """What each stream (GPU, 0 out or 1 in) that asks for so many GB/s gets."""
    asked = [(stream, round(demand * GB), 1) for stream, demand in demands.items()]
    slowdowns = Sharing(load_topology(topology)).slowdowns_ppm(asked)
    return [round(demand * 1e6 / slow, 1) for demand, slow in zip(demands.values(), slowdowns, strict=True)]


def test_two_h200_as_measured_and_where_the_rule_is_wrong() -> None:
    """Measured: both out 55.1, both in 55.0, one out beside the other in 55.1 and 53.9, all four 52.6 and 40.4. The
    rule knows no loss of the third (53.9), and no gain of the fourth (52.6, where one GPU by itself has 50.4)."""
    assert gigabytes("two-h200", {(0, 0): 55.2, (1, 0): 55.2}) == [55.2, 55.2]
    assert gigabytes("two-h200", {(0, 1): 55.3, (1, 1): 55.3}) == [55.3, 55.3]
    assert gigabytes("two-h200", {(0, 0): 55.2, (1, 1): 55.3}) == [55.2, 55.3]
    assert gigabytes("two-h200", {(0, 0): 50.4, (0, 1): 51.3, (1, 0): 50.4, (1, 1): 51.3}) == [50.4, 40.4, 50.4, 40.4]
    total = Sharing(one_link(2, total_bytes_per_s=186 * GB))
    streams = [((gpu, way), round(demand * GB), 1) for gpu in (0, 1) for way, demand in ((0, 50.4), (1, 51.3))]
    shares = [demand / slow / 1e3 for (_, demand, _), slow in zip(streams, total.slowdowns_ppm(streams), strict=True)]
    assert [round(share, 1) for share in shares] == [46.5] * 4


def test_eight_gpus_that_copy_in_from_one_socket_as_published() -> None:
    """43.7 to 44.8 GB/s each at the near socket, 25.3 to 25.5 at the other one: max-min fairness gives both."""
    found = gigabytes("pcie5-one-memory", {(gpu, 1): 56.2 for gpu in range(8)})
    assert found == [44.2] * 4 + [25.4] * 4
    assert gigabytes("pcie5-one-memory", {(7, 1): 56.2}) == [56.2]


def test_pairs_behind_a_switch_halve_what_one_has() -> None:
    """Published of all eight both ways: 5 to 6 GB/s in each, of 12 to 13."""
    every = {(gpu, way): (24.0, 11.0)[way] for gpu in range(8) for way in (0, 1)}
    assert gigabytes("a100-dual-socket", every) == [12.0, 5.7] * 8


def test_a_link_that_carries_all_that_can_be_asked_for_has_no_limit() -> None:
    """Four GPUs that copy one way at a time ask for 220 of both ways together, and may ask for 400 if they do not."""
    memory = one_link(4, total_bytes_per_s=300 * GB, in_bytes_per_s=200 * GB)
    one_way, both_ways = Most(55 * GB, 50 * GB, 55 * GB), Most(55 * GB, 50 * GB, 105 * GB)
    assert not memory.that_binds([one_way] * 4).sharing()
    assert memory.that_binds([one_way] * 3 + [both_ways]).sharing() == []
    assert memory.that_binds([both_ways] * 4).sharing() == [[0, 1, 2, 3]]
    assert one_link(2, both_out_bytes_per_s=109 * GB).that_binds([one_way] * 2).sharing() == [[0, 1]]


@settings(max_examples=tries(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_shares_are_dealt_out_where_they_matter_and_nobody_else_notices(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """As where every link is taken to bind, and shares are dealt out whenever anything changes."""
    case = data.draw(cases())
    program = build_program(case.network, case.plan)
    limits = st.sampled_from([None, GB // 5, GB, 2 * GB, 20 * GB])
    links = {
        name: SharedLink(
            name,
            "switch",
            to,
            *(data.draw(limits), data.draw(limits), None, data.draw(limits), None),
            in_beside_out=data.draw(curves()),
        )
        for name, to in (("memory", None), ("left", "memory"), ("right", "memory"))
    }
    topology = Topology("test", "test", links, ("left", "right", "left"))
    starts_ns = data.draw(st.tuples(*[st.integers(0, 300)] * 3))
    found = run(topology, starts_ns, program, case.trace, case.gpu)
    with monkeypatch.context() as patch:
        patch.setattr(Topology, "that_binds", lambda self, _: self)
        patch.setattr(Load, "too_much", True)
        assert run(topology, starts_ns, program, case.trace, case.gpu) == found
