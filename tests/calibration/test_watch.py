"""What disturbs a measurement is seen before and after it, and the measurement is taken again."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from support.fake_device import Disturbance, FakeBench, What, fake_bench
from vdnnsim.calibration.samples import quiet_ones, quiet_sample, undisturbed
from vdnnsim.calibration.watch import HOST, LINK, Fastest, Seen, Watch
from vdnnsim.program import Stream

MS = 1_000_000


def measured(bench: FakeBench, *, link: bool, tries: int = 4) -> tuple[Seen[int], list[int]]:
    """A measurement that lets 10 ms pass and says when it began, and all the times it was taken."""
    taken: list[int] = []

    def measure() -> int:
        taken.append(bench.device.clock_ns)
        bench.device.idle(10 * MS)
        return taken[-1]

    return bench.watch.undisturbed(measure, tries, link=link), taken


def test_what_a_slow_core_measured_is_measured_again_on_another() -> None:
    bench = fake_bench([Disturbance(What.HOST, 5 * MS, 1000 * MS, 2, core=7)])
    found, taken = measured(bench, link=False)
    assert found.quiet
    assert len(taken) == 2
    assert bench.device.host.core == 6
    assert "1 of 2" in bench.watch.describe()[HOST]


def test_a_host_that_is_slow_throughout_is_told_and_not_tried_again() -> None:
    bench = fake_bench([Disturbance(What.HOST, 1 * MS, 10_000 * MS, 2)])
    bench.device.idle(2 * MS)
    found, taken = measured(bench, link=False)
    assert found.disturbed_by == (HOST,)
    assert len(taken) == 1


def test_a_burst_on_the_link_is_waited_for_and_what_it_hit_is_measured_again() -> None:
    begin_ns = 400 * MS
    bench = fake_bench([Disturbance(What.LINK_IN, begin_ns, begin_ns + 60 * MS, 1.3)])
    assert bench.watch.link.slow_share() == 0
    bench.device.idle(begin_ns - 5 * MS - bench.device.clock_ns)
    found, taken = measured(bench, link=True)
    assert found.quiet
    assert len(taken) == 2
    assert taken[1] >= begin_ns + 60 * MS
    assert bench.watch.disturbed == {LINK: 1}


def test_a_link_that_does_not_come_to_rest_is_told() -> None:
    bench = fake_bench([Disturbance(What.LINK_OUT, 400 * MS, 10**15, 1.3)])
    assert bench.watch.link.held()
    bench.device.idle(400 * MS)
    found, taken = measured(bench, link=True, tries=3)
    assert found.disturbed_by == (LINK,)
    assert len(taken) == 3
    assert bench.watch.link.looks == 4
    assert bench.watch.link.slow_share() == 3 / 4
    assert "slow" in bench.watch.describe()[LINK]


def test_a_link_that_is_steady_and_slower_than_it_is_known_to_be_is_slow() -> None:
    bench = fake_bench([Disturbance(What.LINK_OUT, 0, 10**15, 1.1)])
    assert measured(bench, link=True)[0].quiet
    bench.watch.link.expect(bench.device.truth.link)
    assert measured(bench, link=True)[0].disturbed_by == (LINK,)


def test_who_measures_no_copies_does_not_wait_for_the_link() -> None:
    bench = fake_bench([Disturbance(What.LINK_OUT, 0, 10**15, 1.3)])
    found, taken = measured(bench, link=False)
    assert found.quiet
    assert len(taken) == 1


def test_one_reading_alone_is_not_the_fastest() -> None:
    fastest = Fastest(1.03)
    assert [fastest.is_fast(reading) for reading in (90, 100, 101, 102, 104, 130)] == [
        True,
        True,
        True,
        True,
        True,
        False,
    ]
    assert fastest.fastest_ns == 101


def test_only_readings_near_the_shortest_count() -> None:
    assert undisturbed([100, 102, 110, 103], 1.03) == [100, 102, 103]
    assert undisturbed([50, 100, 101, 102, 103, 120], 1.03) == [50, 100, 101, 102, 103]


def test_quiet_ones_stand_for_all_where_there_are_enough() -> None:
    quiet, loud = Seen(5), Seen(9, (HOST,))
    assert quiet_ones([quiet, loud, loud, quiet, loud, quiet]) == Seen([5, 5, 5])
    assert quiet_ones([quiet, loud, loud, loud, loud, loud]) == Seen([5, 9, 9, 9, 9, 9], (HOST,))
    assert quiet_sample([loud]).disturbed_by == (HOST,)
    assert not quiet_sample([loud]).steady


def test_the_reference_is_the_link_at_full_speed() -> None:
    bench = fake_bench()
    link = Watch(bench.device).link
    for stream, curve in (
        (Stream.COPY_OUT, bench.device.truth.link.copy_out),
        (Stream.COPY_IN, bench.device.truth.link.copy_in),
    ):
        assert link.fastest_ns(stream) == pytest.approx(curve.duration_ns(bench.device.reference_bytes), rel=0.005)
