"""What is made of timings of copies, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from support.fake_device.device import FakeDevice
from vdnnsim.calibration.bench import open_bench
from vdnnsim.calibration.link import LinkReport, _shortened
from vdnnsim.calibration.pinning import line_through, measure_pinning
from vdnnsim.calibration.profile_text import _title, profile_text, with_host_costs
from vdnnsim.calibration.watch import Watch
from vdnnsim.gpu import AfterWait, HostCosts, Link, LinkCurve, LinkPoint, Pinning, Power, read_profile
from vdnnsim.machines.real.device import DeviceRefused


def curve(*times_ns: int) -> LinkCurve:
    return LinkCurve(tuple(LinkPoint(4096 << index, time_ns) for index, time_ns in enumerate(times_ns)))


def test_a_copy_of_which_the_marks_were_the_larger_part_was_not_measured() -> None:
    """What the clock's marks cost is taken off; a copy that then lasts 1 ns was no measurement."""
    assert _shortened(curve(500, 900, 2000, 4100), 100) == curve(400, 800, 1900, 4000)
    swamped = _shortened(curve(9_000, 9_500, 21_000, 40_000), 10_000)
    assert swamped.points == (LinkPoint(16384, 11_000), LinkPoint(32768, 30_000))
    assert swamped.duration_ns(8192) == 11_000


def test_two_points_stay_however_much_the_marks_seem_to_cost() -> None:
    assert _shortened(curve(10, 20, 30), 1_000).points == (LinkPoint(8192, 10), LinkPoint(16384, 20))


@pytest.mark.parametrize(
    ("gpu", "title"),
    [
        ("NVIDIA H200, 150 B, 132 SMs", "NVIDIA H200"),
        ("none: the kernels ran on the CPU (Xeon(R), 2 cores)", "the kernels ran on the CPU (Xeon(R), 2 cores)"),
    ],
)
def test_a_title_is_whole(gpu: str, title: str) -> None:
    assert _title(gpu) == title


def test_a_profile_is_read_back_whatever_the_device_is_called(tmp_path: Path) -> None:
    """With all that a link report may have; then with the pool's costs of offloading cases, told once."""
    link = Link(curve(500, 900), curve(600, 1000), 1_100_000, 1_200_000)
    after_wait = AfterWait((0, 1000), (0, 7), (0, 8), (0, 9), (0, 0))
    host = HostCosts(1, 2, 3, 4, 5, 6, 7, after_wait, pinning=Pinning(bytes_per_s=2 * 10**9, call_ns=30_000))
    conditions = {"gpu": 'a "quoted" \\ GPU, 1 B', "in two": "lines\nof \x07"}
    report = LinkReport(
        10**9, 10**11, link, host, {"copy out": 1}, "once", "today", conditions, (Power(1.5, 2.5, 0.5), "How."), ("x",)
    )
    path = tmp_path / "g.toml"
    path.write_text(profile_text(report, "g"), encoding="utf-8")
    profile = read_profile(path)
    assert (profile.title, profile.link, profile.host) == ('a "quoted" \\ GPU', link, host)
    assert profile.power == Power(1.5, 2.5, 0.5)
    assert profile.provenance["pinned"] == "measured"
    assert profile.host.pinning.cost_ns([10**9, 10**9]) == 10**9 + 2 * 30_000
    refined = replace(profile, host=replace(host, allocate_ns=40, free_ns=50))
    text = path.read_text(encoding="utf-8")
    for batch in (64, 128):
        text = with_host_costs(text, refined, [("alexnet", batch, "fp32")])
    path.write_text(text, encoding="utf-8")
    assert read_profile(path).host == refined.host
    assert text.count("Allocations and frees: from the offloading cases of alexnet (128) fp32, which") == 1
    assert text.count("Allocations and frees") == 1


def test_pinning_is_a_line_and_the_small_sizes_count_as_the_large_ones_do() -> None:
    """20 us a call and a byte a nanosecond; one reading of the largest that is late moves the call's cost little."""
    sizes = [1 << 20, 1 << 22, 1 << 24]
    assert line_through(sizes, [20_000 + size for size in sizes]) == Pinning(bytes_per_s=10**9, call_ns=20_000)
    late = line_through(sizes, [20_000 + sizes[0], 20_000 + sizes[1], 30_000 + sizes[2]])
    assert late.call_ns == pytest.approx(20_000, rel=0.05)


def test_what_larger_sizes_do_not_show_is_not_told() -> None:
    assert line_through([1 << 20, 1 << 22], [5_000, 5_000]).bytes_per_s is None


def test_a_cpu_stands_in_and_a_host_without_room_refuses() -> None:
    with open_bench("cpu") as bench:
        found = measure_pinning(bench.watch)
    assert 10**4 < found.costs.call_cost_ns(16 << 20) < 10**10, "from a terabyte to a megabyte a second"
    with pytest.raises(DeviceRefused, match=r"pinned host memory: found 1\.0 MB"):
        measure_pinning(Watch(FakeDevice(pinned_bytes=10**6)))
