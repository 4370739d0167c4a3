"""What is made of timings of copies, by hand."""

from __future__ import annotations

import pytest

from vdnnsim.calibration.link import _shortened
from vdnnsim.calibration.profile_text import _title
from vdnnsim.gpu import LinkCurve, LinkPoint


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
