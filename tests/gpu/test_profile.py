"""Link curves worked out by hand, and what scaling them must not do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.strategies import curves
from vdnnsim.errors import InvalidInput
from vdnnsim.gpu import GpuProfile, Link, LinkCurve, LinkPoint, load_profile

CURVE = LinkCurve((LinkPoint(1000, 500), LinkPoint(2000, 800), LinkPoint(12_000, 1800)))
"""500 ns to start; 0.3 ns a byte up to 2000 bytes, 0.1 from there."""


@pytest.mark.parametrize(
    ("size_bytes", "duration_ns"),
    [
        (1, 500),
        (1000, 500),
        (1001, 500),
        (1004, 501),
        (1500, 650),
        (2000, 800),
        (7000, 1300),
        (12_000, 1800),
        (112_000, 11_800),
    ],
)
def test_copy_times_between_and_beyond_the_points(size_bytes: int, duration_ns: int) -> None:
    assert CURVE.duration_ns(size_bytes) == duration_ns


def test_bandwidth_is_what_large_copies_reach_without_the_start() -> None:
    assert CURVE.bandwidth_bytes_per_s == round(11_000 / 1300 * 1e9)
    assert LinkCurve((LinkPoint(0, 10), LinkPoint(16_000, 1010))).bandwidth_bytes_per_s == 16 * 10**9


@pytest.mark.parametrize(
    "points",
    [
        [],
        [(1, 1)],
        [(1, 1), (1, 2)],
        [(1, 1), (2, 1)],
        [(2, 1), (1, 2)],
        [(1, 2), (2, 1)],
    ],
)
def test_points_must_rise(points: list[tuple[int, int]]) -> None:
    with pytest.raises(InvalidInput, match="expected two points or more, both sizes and times rising"):
        LinkCurve(tuple(LinkPoint(*point) for point in points))


def test_scaling_keeps_the_start_and_scales_the_rest() -> None:
    half = LinkCurve((LinkPoint(1000, 500), LinkPoint(11_000, 1500))).scaled_to(5 * 10**9)
    assert half.points == (LinkPoint(1000, 500), LinkPoint(11_000, 2500))
    assert half.bandwidth_bytes_per_s == 5 * 10**9
    assert half.duration_ns(1) == 500


@given(curves(), st.integers(1, 10**13))
def test_larger_copies_take_longer(curve: LinkCurve, size_bytes: int) -> None:
    assert 1 <= curve.duration_ns(size_bytes) <= curve.duration_ns(size_bytes + 1) <= curve.duration_ns(2 * size_bytes)


@given(curves(), st.integers(1, 10**13), st.integers(10**6, 10**12), st.integers(1, 10**6))
def test_more_bandwidth_never_makes_a_copy_slower(
    curve: LinkCurve, size_bytes: int, bandwidth_bytes_per_s: int, more: int
) -> None:
    """Not by a nanosecond, whatever is rounded."""
    slow, fast = curve.scaled_to(bandwidth_bytes_per_s), curve.scaled_to(bandwidth_bytes_per_s + more)
    assert fast.duration_ns(size_bytes) <= slow.duration_ns(size_bytes)


def _gpu() -> GpuProfile:
    other = LinkCurve((LinkPoint(1, 7), LinkPoint(10_001, 1007)))
    return GpuProfile("g", "G", 10**10, 300 * 10**9, Link(CURVE, other, 1_100_000, 1_200_000))


def test_what_if() -> None:
    gpu = _gpu()
    assert gpu.with_capacity(5).capacity_bytes == 5
    assert gpu.with_capacity(5).link == gpu.link
    slower = gpu.with_link_bandwidth(5 * 10**9).link
    assert slower.copy_in.bandwidth_bytes_per_s == 5 * 10**9
    assert slower.copy_out.bandwidth_bytes_per_s == pytest.approx(5e9, rel=1e-3)
    assert (slower.both_ways_out_slowdown_ppm, slower.both_ways_in_slowdown_ppm) == (1_100_000, 1_200_000)


def test_a_scaled_link_is_modelled() -> None:
    gpu = load_profile("titan-x-maxwell").with_link_bandwidth(16 * 10**9)
    assert gpu.provenance["link.copy_out"] == gpu.provenance["link.copy_in"] == "modelled"
    assert gpu.provenance["memory"] == "published"
    assert gpu.sources["link.copy_in"].startswith("Scaled to 16000000000 B/s. 32 MiB: public CUDA bandwidthTest log")


def test_no_link_is_faster_than_the_memory_behind_it() -> None:
    with pytest.raises(InvalidInput, match=r"expected at most the 300\.00 GB/s of the device memory of g behind it"):
        _gpu().with_link_bandwidth(300 * 10**9 + 1)


def test_a_link_as_fast_as_the_memory_behind_it_can_be_asked_for() -> None:
    fastest = _gpu().with_link_bandwidth(300 * 10**9).link.copy_in
    assert [point.duration_ns for point in fastest.points] == [7, 40]


@pytest.mark.parametrize("name", ["h100", "h200", "titan-x-maxwell"])
def test_a_shipped_gpu_takes_any_link_up_to_its_memory(name: str) -> None:
    """However close the points of its curve lie."""
    gpu = load_profile(name)
    fastest = gpu.with_link_bandwidth(gpu.memory_bandwidth_bytes_per_s).link.copy_out
    start_ns = fastest.points[0].duration_ns
    assert fastest.duration_ns(10**12) - start_ns == pytest.approx(1e21 / gpu.memory_bandwidth_bytes_per_s, rel=0.01)


def test_the_papers_gpu() -> None:
    """Published: 12,457.3 MiB/s out and 12,183.5 MiB/s in; 12 GB; 336 GB/s."""
    gpu = load_profile("titan-x-maxwell")
    assert gpu.capacity_bytes == 12_794_200_064
    assert gpu.memory_bandwidth_bytes_per_s == 336 * 10**9
    assert gpu.link.copy_out.duration_ns(2**25) == pytest.approx(2**25 / (12_457.3 * 2**20) * 1e9, rel=1e-4)
    assert gpu.link.copy_in.duration_ns(2**25) == pytest.approx(2**25 / (12_183.5 * 2**20) * 1e9, rel=1e-4)
    assert set(gpu.provenance) == {"memory", "link.copy_out", "link.copy_in", "link.both_ways", "host", "power"}
