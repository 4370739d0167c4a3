"""Constants are what refitting gives, and the fit holds where it has not looked."""

from statistics import median

import pytest

from vdnnsim_builder.constants import FITS
from vdnnsim_builder.fits import older_fft_ratios, refit, single_image_fft_ratios


def test_refitting_gives_the_constants() -> None:
    found = refit()
    assert list(found) == list(FITS)
    for name, fit in FITS.items():
        again = found[name]
        assert again.value == pytest.approx(fit.value, rel=2e-3), name
        assert (again.samples, again.unit, again.source) == (fit.samples, fit.unit, fit.source)
        for ours, theirs in ((fit.low, again.low), (fit.median, again.median), (fit.high, again.high)):
            assert ours == pytest.approx(theirs, abs=3e-3), name


def test_every_spread_encloses_its_median() -> None:
    for fit in FITS.values():
        assert 0 < fit.low <= fit.median <= fit.high
        assert 0.9 < fit.median < 1.1


def test_totals_play_no_part_in_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from vdnnsim_builder import published

    real = published._rows

    def without_totals(name: str):  # type: ignore[no-untyped-def]
        assert name != "totals.csv"
        return real(name)

    monkeypatch.setattr(published, "_rows", without_totals)
    for cached in (published._log, published.forward_by_algorithm, published.times_by_pass):
        cached.cache_clear()
    refit()


def test_transforms_of_one_image_follow_from_large_batches() -> None:
    ratios = single_image_fft_ratios()
    assert len(ratios) > 20
    assert min(ratios) > 0.9
    assert max(ratios) < 1.1
    assert median(ratios) == pytest.approx(1, abs=0.05)


def test_older_transforms_on_the_titan_x_follow_with_twice_the_moves() -> None:
    assert all(0.8 < ratio < 1.25 for ratio in older_fft_ratios())
