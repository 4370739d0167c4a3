"""What is made of timings of copies, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vdnnsim.calibration.link import LinkReport, _shortened
from vdnnsim.calibration.profile_text import _title, profile_text, with_host_costs
from vdnnsim.gpu import AfterWait, HostCosts, Link, LinkCurve, LinkPoint, Power, read_profile


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
    host = HostCosts(1, 2, 3, 4, 5, 6, 7, after_wait)
    conditions = {"gpu": 'a "quoted" \\ GPU, 1 B', "in two": "lines\nof \x07"}
    report = LinkReport(
        10**9, 10**11, link, host, {"copy out": 1}, "once", "today", conditions, (Power(1.5, 2.5, 0.5), "How."), ("x",)
    )
    path = tmp_path / "g.toml"
    path.write_text(profile_text(report, "g"), encoding="utf-8")
    profile = read_profile(path)
    assert (profile.title, profile.link, profile.host) == ('a "quoted" \\ GPU', link, host)
    assert profile.power == Power(1.5, 2.5, 0.5)
    refined = replace(profile, host=replace(host, allocate_ns=40, free_ns=50))
    text = path.read_text(encoding="utf-8")
    for batch in (64, 128):
        text = with_host_costs(text, refined, [("alexnet", batch, "fp32")])
    path.write_text(text, encoding="utf-8")
    assert read_profile(path).host == refined.host
    assert text.count("Allocations and frees: from the offloading cases of alexnet (128) fp32, which") == 1
    assert text.count("Allocations and frees") == 1
