"""Slowdowns of copies beside kernels that run only a share of the time, and beside very short ones."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from support.fake_device import fake_bench
from support.fake_device.truth import TrueKernel
from vdnnsim.calibration import slowdown
from vdnnsim.calibration.pairs import FORBIDDEN, Slowdown
from vdnnsim.calibration.slowdown import NONE, CopySlowdowns
from vdnnsim.units import PPM


def measured(monkeypatch: pytest.MonkeyPatch, found: Slowdown) -> Slowdown:
    """What is made of a ratio that was measured beside a kernel of 4 us whose launches come every 10 us."""
    monkeypatch.setattr(slowdown, "measure_pairs", lambda *_: found)
    out, back = CopySlowdowns(fake_bench().watch).measure(lambda: None, 4_000, 10_000)
    assert out == back
    return out


def test_a_kernel_that_runs_a_share_of_the_time_is_told_as_if_it_ran_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(monkeypatch, Slowdown(1_020_000, 4_000)) == Slowdown(1_050_000, 10_000)


def test_scaling_makes_nothing_that_physics_forbids(monkeypatch: pytest.MonkeyPatch) -> None:
    """2.4 % faster was within the limit, and 6 % is not: so a row of a trace came to 0.937."""
    assert measured(monkeypatch, Slowdown(976_000, 4_000)) == Slowdown(PPM, 10_000, FORBIDDEN)
    assert measured(monkeypatch, Slowdown(992_000, 4_000)) == Slowdown(980_000, 10_000)


@pytest.mark.parametrize(("duration_ns", "told"), [(1, False), (250, False), (10_000, True), (500_000, True)])
def test_a_kernel_too_short_to_lie_beside_a_copy_is_not_launched_a_thousand_times(duration_ns: int, told: bool) -> None:
    """1500 launches of 250 ns are less than a third of a copy of 64 MiB; of 10 us, fewer fill it."""
    bench = fake_bench()
    kernel = TrueKernel("short", duration_ns, launch_ns=0, start_ns=0, slows_out_ppm=1_300_000)
    launched: list[TrueKernel] = []

    def launch() -> None:
        launched.append(kernel)
        bench.device.launch(kernel)

    out, _ = CopySlowdowns(bench.watch).measure(launch, duration_ns, 0)
    assert bool(launched) is told
    if told:
        assert out.ppm == pytest.approx(1_300_000, rel=0.01)
    else:
        assert out == NONE
