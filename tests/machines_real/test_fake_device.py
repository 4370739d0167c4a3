"""The fake device that calibration is tested on: what it does is worked out by hand, and is what the simulated machine
does where nothing disturbs it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from support.cases import linear_curve  # noqa: E402
from support.fake_device import (  # noqa: E402
    Disturbance,
    FakeDevice,
    Marks,
    TrueKernel,
    Truth,
    What,
    bursts,
    half_speed_spells,
)
from support.fake_device.disturbances import Course  # noqa: E402
from vdnnsim.gpu import AfterWait, HostCosts, Link  # noqa: E402
from vdnnsim.machines.real.device import Action, DeviceRefused, Stopwatch  # noqa: E402
from vdnnsim.machines.real.nvml import what_changed  # noqa: E402
from vdnnsim.program import Stream  # noqa: E402
from vdnnsim.units import PPM  # noqa: E402

LINK = Link(linear_curve(), linear_curve())
"""A byte takes a nanosecond in either direction."""
FREE = Truth(link=LINK, host=HostCosts(), marks=Marks(), probe_ns=0)
OUT, IN, COMPUTE = Stream.COPY_OUT, Stream.COPY_IN, Stream.COMPUTE


def kernel(
    duration_ns: int, launch_ns: int = 0, start_ns: int = 0, slows_out: float = 1, slows_in: float = 1
) -> TrueKernel:
    return TrueKernel("any", duration_ns, 0, launch_ns, start_ns, round(slows_out * PPM), round(slows_in * PPM))


def launch(device: FakeDevice, one: TrueKernel) -> Stopwatch:
    return run(device, COMPUTE, lambda: device.launch(one))


def copy(device: FakeDevice, stream: Stream, size_bytes: int) -> Stopwatch:
    memory = torch.empty(size_bytes, dtype=torch.uint8, device="meta")
    return run(device, stream, device.copy(stream, memory, memory))


def run(device: FakeDevice, stream: Stream, action: Action) -> Stopwatch:
    marked, stopwatch = device.timed(stream, action)
    marked()
    return stopwatch


def test_three_kernels_two_copies_and_a_slow_moment() -> None:
    """The second kernel slows the first copy, the script the second copy and the third kernel."""
    device = FakeDevice(
        [Disturbance(What.LINK_OUT, 220, 250, 3), Disturbance(What.CLOCK, 250, 300, 2)],
        FREE,
    )
    kernels = [launch(device, one) for one in (kernel(100), kernel(100, slows_out=2), kernel(100))]
    copies = [copy(device, OUT, size_bytes) for size_bytes in (150, 100)]
    device.drain()
    assert [one.read() for one in kernels] == [(0, 100), (100, 200), (200, 325)]
    # 100 while the first kernel ran, 50 of 100 ns beside the second; then 20, 10 of 30, and 70 left at 250.
    assert [one.read() for one in copies] == [(0, 200), (200, 320)]
    assert device.now_ns() == 325


def test_copies_both_ways_slow_each_other() -> None:
    """Out 1.5 times as long, in 2 times, until the first of them is done."""
    device = FakeDevice((), replace(FREE, link=Link(linear_curve(), linear_curve(), 1_500_000, 2_000_000)))
    out, back = copy(device, OUT, 100), copy(device, IN, 100)
    device.drain()
    assert [out.read(), back.read()] == [(0, 150), (0, 175)]


def test_a_slow_link_is_slow_in_its_direction() -> None:
    for what, ends in ((What.LINK_OUT, [200, 100]), (What.LINK_IN, [100, 200]), (What.LINK_BOTH, [200, 200])):
        device = FakeDevice([Disturbance(what, 0, 1000, 2)], FREE)
        copies = [copy(device, stream, 100) for stream in (OUT, IN)]
        device.drain()
        assert [one.read()[1] for one in copies] == ends


def test_the_host_runs_ahead_and_waits() -> None:
    """A kernel begins its start time after the beginning of its launch, the next one when its launch is over or the
    stream is free; a copy its own start time after its call; a wait ends with what it waits for and its own cost."""
    costs = HostCosts(copy_ns=3, synchronise_ns=7, copy_start_ns=2)
    device = FakeDevice((), Truth(link=LINK, host=costs, marks=Marks()))
    begin_ns = device.now_ns()
    first = launch(device, kernel(20, launch_ns=5, start_ns=8))
    second = launch(device, kernel(10, launch_ns=5, start_ns=4))
    assert device.now_ns() - begin_ns == 10
    moved = copy(device, OUT, 100)
    assert device.now_ns() - begin_ns == 13
    device.wait(COMPUTE)()
    assert device.now_ns() - begin_ns == 38 + 7
    device.wait(OUT)()
    assert device.now_ns() - begin_ns == 115 + 7
    assert first.read()[1] - begin_ns == 28
    assert second.read()[1] - begin_ns == 38
    assert moved.read()[1] - begin_ns == 115


def test_a_slow_core_makes_every_call_longer() -> None:
    """Of a launch of 10 ns that begins 5 ns before the core slows to half its speed."""
    slow = Disturbance(What.HOST, 15, 10**9, 2, core=0)
    for core, end_ns in ((0, 25), (1, 20)):
        device = FakeDevice([slow], FREE)
        device.system_core = core
        device.launch(kernel(1, launch_ns=10))
        device.launch(kernel(1, launch_ns=10))
        assert device.now_ns() == end_ns


def test_measurements_move_to_a_core_at_full_speed() -> None:
    device = FakeDevice([Disturbance(What.HOST, 10_000_000, 10**12, 1.8, core=7)])
    assert device.host.core == 7
    device.idle(20_000_000)
    assert device.host.settle()
    assert device.host.core == 6
    with device.host.quiet():
        begin_ns = device.now_ns()
        device.launch(kernel(1, launch_ns=100))
        assert device.now_ns() - begin_ns == 100


def test_marks_cost_what_they_are_said_to() -> None:
    """Each takes 2 ns of its stream, and says when it is over: the one at the end counts, the one at the begin not."""
    device = FakeDevice((), Truth(host=HostCosts(), marks=Marks(host_ns=1, stream_ns=2, start_ns=3)))
    begin_ns = device.now_ns()
    first, second = launch(device, kernel(20)), launch(device, kernel(30))
    assert device.now_ns() - begin_ns == 4
    device.drain()
    assert first.read() == (begin_ns + 6, begin_ns + 28)
    assert second.read() == (begin_ns + 30, begin_ns + 62)


def test_a_stopwatch_is_read_after_a_wait() -> None:
    device = FakeDevice((), FREE)
    stopwatch = launch(device, kernel(20))
    with pytest.raises(RuntimeError, match="before the host had waited"):
        stopwatch.read()


def test_calls_grow_cold_while_the_host_waits() -> None:
    """Each kind for itself: a launch after 50 ns of 100 takes half of what it may take more, and the next one nothing;
    a copy's call, which comes later, still finds all of it."""
    after_wait = AfterWait((0, 100), (0, 80), (0, 40), (0, 0), (0, 10))
    device = FakeDevice((), replace(FREE, host=HostCosts(after_wait=after_wait)))
    device.launch(kernel(50))
    device.drain()

    def took(action: Action) -> int:
        begin_ns = device.now_ns()
        action()
        return device.now_ns() - begin_ns

    assert took(lambda: device.launch(kernel(1))) == 40
    assert took(lambda: device.launch(kernel(1))) == 0
    memory = torch.empty(100, dtype=torch.uint8, device="meta")
    assert took(device.copy(OUT, memory, memory)) == 20
    assert took(device.wait(COMPUTE)) == 5
    device.idle(10_000)
    assert took(lambda: device.launch(kernel(1))) == 80


def test_a_host_that_rehearses_stays_warm() -> None:
    """A wait of a millisecond with something to do every quarter: a launch after it knows of the last quarter only."""
    after_wait = AfterWait((0, 1_000_000), (0, 80_000), (0, 0), (0, 0), (0, 0))
    costs = HostCosts(after_wait=after_wait)
    found = {}
    for rehearses in (False, True):
        device = FakeDevice((), replace(FREE, host=costs), rehearses=rehearses)
        device.launch(kernel(1_000_000))
        device.wait(COMPUTE, device.rehearsal(OUT))()
        begin_ns = device.now_ns()
        device.launch(kernel(1))
        found[rehearses] = device.now_ns() - begin_ns
    # Launches of the rehearsals are cold themselves, after a quarter each, so that the third is at 810 us.
    assert found == {False: 80_000, True: 15_200}


def test_the_gpus_state_says_what_the_script_does() -> None:
    device = FakeDevice([Disturbance(What.CLOCK, 100, 200, 2), Disturbance(What.OTHER_PROCESS, 300, 400, 1.5)], FREE)
    before, free_bytes = device.state(), device.free_bytes()
    assert what_changed(before, before) == ()
    device.idle(150)
    assert device.state().sm_mhz == 1000
    assert "SM clock 1000 MHz" in str(what_changed(before, device.state()))
    device.idle(100)
    assert what_changed(before, device.state()) == ("clocks held back by power cap for 0.0 ms",)
    device.idle(100)
    assert "1 other process" in str(what_changed(before, device.state()))
    assert device.free_bytes() == free_bytes - device.truth.other_bytes


def test_memory_that_is_missing_is_refused() -> None:
    device = FakeDevice(truth=Truth(capacity_bytes=1000), pinned_bytes=100)
    assert device.make_slab(1000).numel() == 1000
    assert device.make_slab(10).numel() == 1000, "as the others, the device keeps what it has"
    with pytest.raises(DeviceRefused, match="KB free"):
        device.make_slab(1001)
    with pytest.raises(DeviceRefused, match="pinned"):
        device.make_pinned([60, 60])


def test_bursts_take_their_share_of_the_time() -> None:
    until_ns = 10**12
    found = bursts(What.LINK_OUT, 5, 0.4, until_ns)
    assert found == bursts(What.LINK_OUT, 5, 0.4, until_ns)
    assert found != bursts(What.LINK_OUT, 6, 0.4, until_ns)
    assert all(one.to_ns <= other.from_ns for one, other in pairwise(found))
    assert all(1.03 <= one.factor <= 2.5 and 2e6 <= one.to_ns - one.from_ns <= 180e6 for one in found)
    assert sum(one.to_ns - one.from_ns for one in found) / until_ns == pytest.approx(0.4, abs=0.02)
    spells = half_speed_spells(1, 0.3, cores=4)
    assert {one.core for one in spells} == {0, 1, 2, 3}
    assert all(1.7 < one.factor < 1.8 for one in spells)


FACTORS = st.sampled_from([1, 1.25, 1.5, 2, 3.7])
DISTURBANCES = st.builds(
    lambda begin_ns, lasts_ns, factor: Disturbance(What.LINK_OUT, begin_ns, begin_ns + lasts_ns, factor),
    st.integers(0, 200),
    st.integers(1, 100),
    FACTORS,
)


@given(st.lists(DISTURBANCES, max_size=5), st.integers(0, 200), st.integers(0, 150))
def test_work_takes_what_its_nanoseconds_take(script: list[Disturbance], begin_ns: int, work_ns: int) -> None:
    """Against counting: in each nanosecond so much is done as the product of all factors lets through."""
    now_ns, left = begin_ns, float(work_ns)
    while left > 1e-9:
        slowness = 1.0
        for one in script:
            slowness *= one.factor if one.from_ns <= now_ns < one.to_ns else 1
        left -= 1 / slowness
        now_ns += 1
    assert Course(script).end_ns(begin_ns, work_ns) == now_ns
