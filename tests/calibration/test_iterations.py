"""An iteration's time where the link is at times slower than it can be: bursts are taken off, and what is left told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from support.fake_device import FakeBench, Range, What, bursts, fake_bench
from support.fake_device.disturbances import BURSTS_MS
from vdnnsim.calibration.iterations import Iterations, corrected, never_at_rest
from vdnnsim.calibration.running import CaseRun, repeat_case, run_case
from vdnnsim.calibration.samples import Sample
from vdnnsim.network import load_network
from vdnnsim.policies import make_policy


def test_a_burst_in_one_part_of_an_iteration_is_taken_off() -> None:
    readings = [[100, 50, 200], [150, 50, 200], [100, 50, 200], [100, 50, 300]]
    found = corrected(readings, frozenset({0, 2}), 1.015)
    assert found.corrected == Sample(350, 0, 4)
    assert found.plain_ns == 375


def test_a_part_with_one_undisturbed_reading_has_no_witness() -> None:
    found = corrected([[100], [150], [200]], frozenset({0}), 1.015)
    assert found.unwitnessed_ppm == pytest.approx(100 / 150 * 1e6, abs=1)


@pytest.mark.parametrize(
    ("slow_share", "readings", "probability"),
    [(0, 1, 0), (0, 40, 0), (1, 40, 1), (0.5, 5, 0.5**5), (0.5, 6, 0.5**6 + 6 * 0.5**6), (0.8, 40, 0.0015)],
)
def test_how_likely_no_reading_was_taken_on_a_link_at_rest(
    slow_share: float, readings: int, probability: float
) -> None:
    assert never_at_rest(slow_share, readings) == pytest.approx(probability, abs=1e-4)


@given(st.floats(0, 1), st.integers(6, 60))
def test_more_iterations_make_it_less_likely(slow_share: float, readings: int) -> None:
    assert never_at_rest(slow_share, readings + 1) <= never_at_rest(slow_share, readings) <= 1 + 1e-9


def test_iterations_beside_which_the_link_was_never_at_rest_are_no_measurement() -> None:
    found = Iterations(Sample(100, 0, 8), 100, slow_link_ppm=900_000, never_at_rest_ppm=800_000)
    assert found.doubts(0) == [
        "link slower than it can be behind 90 % of 8 iterations, so that parts of them may never have been seen without"
    ]


def repeated(bench: FakeBench) -> CaseRun:
    network = load_network("alexnet", 128)
    study, machine = bench.study(network), bench.machine(network, "fp32")
    return repeat_case(bench, machine, study, run_case(bench, machine, study, make_policy("vdnn-all(m)")))


def test_a_case_beside_which_the_link_is_slow_most_of_the_time_can_be_told() -> None:
    """Bursts as long as were seen, seven tenths of the time: iterations are added until every part was seen at rest."""
    found = repeated(fake_bench(bursts(What.LINK_BOTH, 4, 0.7, until_ns=60_000_000_000, excess=Range(0.03, 0.3))))
    assert found.iterations.slow_link_ppm > 500_000
    assert not found.doubts
    assert abs(found.error) < 0.003


def test_of_three_measurements_the_two_without_doubts_count() -> None:
    """The first falls into a time in which the link never rests."""
    bad = bursts(What.LINK_BOTH, 4, 0.97, until_ns=6_000_000_000, lasts_ms=BURSTS_MS, excess=Range(0.2, 0.4))
    quiet = [one for one in bad if one.from_ns > 100_000_000]
    found = repeated(fake_bench(quiet))
    assert not found.doubts
    assert abs(found.error) < 0.003
