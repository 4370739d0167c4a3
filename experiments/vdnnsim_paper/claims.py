"""The paper's stated numbers beside ours, each ours read from the bars of a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from vdnnsim_paper.bars import BandedBar, Stated, weakest_of
from vdnnsim_paper.config import ClaimEntry, claims, figure_config
from vdnnsim_paper.runs import FigureBars

POINTS = 2.0
PERCENT = 5.0
"""Aimed at: so many percentage points of a percentage, so many percent of anything else."""


class Ours(NamedTuple):
    """Our number with its band and the bars it was read from."""

    value: float
    low: float
    high: float
    bars: tuple[BandedBar, ...]


@dataclass(frozen=True)
class Claim:
    """One claim of the paper with our number."""

    entry: ClaimEntry
    ours: Ours
    gpu: str

    @property
    def difference(self) -> float:
        """Ours less the paper's; 0 within a range of the paper's."""
        return distance(self.entry, self.ours.value)

    @property
    def near(self) -> bool:
        """Whether ours is as near as was aimed at."""
        return is_near(self.entry, self.ours.value)

    @property
    def band_holds_it(self) -> bool:
        """Whether the band of ours reaches the paper's number."""
        low, high = self.ours.low, self.ours.high
        return (self.entry.high is None or low <= self.entry.high) and (
            self.entry.low is None or high >= self.entry.low
        )

    @property
    def how_sure(self) -> str:
        """What our number rests on."""
        label = weakest_of(self.ours.bars).value
        return f"tensor sizes; workspace {label}" if self.entry.basis == "sizes" else label

    @property
    def why(self) -> str:
        """Why they differ; a GPU that the paper did not use has no reason to agree."""
        return self.entry.why.get(self.gpu, "another GPU")


def distance(entry: ClaimEntry, value: float) -> float:
    """From the paper's number or the nearest end of its range; a bound that it leaves open is never passed."""
    if entry.low is not None and value < entry.low:
        return value - entry.low
    if entry.high is not None and value > entry.high:
        return value - entry.high
    return 0.0


def is_near(entry: ClaimEntry, value: float) -> bool:
    return abs(distance(entry, value)) <= tolerance(entry) + 1e-9


def tolerance(entry: ClaimEntry) -> float:
    """How far from the paper's number ours may be, in its unit."""
    if entry.unit == "%":
        return POINTS
    anchor = entry.low if entry.low is not None else entry.high
    return 0.0 if anchor is None or not entry.unit else PERCENT / 100 * anchor


def stated_values(claims: Iterable[Claim]) -> tuple[Stated, ...]:
    """What the paper states of single bars, to be drawn beside ours. Ranges, and numbers that were not checked, are
    left to the table."""
    found = []
    for claim in claims:
        entry, reading = claim.entry, _READERS[claim.entry.name]
        if entry.mark == "unverified" or entry.low is None or entry.low != entry.high or len(claim.ours.bars) > 1:
            continue
        [figure], [banded] = reading.figures, claim.ours.bars
        bar, value = banded.bar, reading.on_axis(entry.low)
        unit = "" if reading.on_axis is _kept else entry.unit
        found.append(Stated(figure, banded.case, bar.group, bar.series, bar.axis, value, unit, entry.mark))
    return tuple(found)


def compare_claims(found: FigureBars, gpu: str) -> list[Claim]:
    """Every claim whose figures are there with the cases that it is about, in the order of the claims' file."""
    compared = []
    for entry in claims():
        figures, case, read, _ = _READERS[entry.name]
        bars = [banded for figure in figures for banded in found.get(figure, ())]
        wanted = {case} if case else {other.label for figure in figures for other in figure_config(figure).cases}
        if wanted <= {banded.case for banded in bars}:
            compared.append(Claim(entry, read(bars), gpu))
    return compared


_Bars = list[BandedBar]
_Reader = Callable[[_Bars], Ours]


def _select(bars: Iterable[BandedBar], case: str = "", series: str = "", part: str = "") -> _Bars:
    return [
        banded
        for banded in bars
        if (not case or banded.case == case)
        and (not series or banded.bar.series == series)
        and (not part or banded.bar.part == part)
    ]


def _one(case: str = "", series: str = "", part: str = "") -> _Reader:
    def read(bars: _Bars) -> Ours:
        found = _select(bars, case, series, part)[0]
        return Ours(found.bar.value, found.low, found.high, (found,))

    return read


def _best_saving(case: str) -> _Reader:
    """The most that one of vDNN's policies saves on average."""

    def read(bars: _Bars) -> Ours:
        best = max(_select(bars, case, part="average saved"), key=lambda banded: banded.bar.value)
        return Ours(best.bar.value, best.low, best.high, (best,))

    return read


def _losses(bars: _Bars) -> _Bars:
    """Performance of vdnn-dyn on the networks that the baseline cannot train, as losses in percent."""
    untrainable = {banded.case for banded in _baseline(bars) if not banded.bar.trains}
    found = [banded for banded in _select(bars, series="vdnn-dyn") if banded.bar.part in ("", "performance")]
    return [_loss(banded) for banded in found if banded.case in untrainable]


def _loss(banded: BandedBar) -> BandedBar:
    bar = banded.bar._replace(value=100 * (1 - banded.bar.value), unit="%")
    return banded._replace(bar=bar, low=100 * (1 - banded.high), high=100 * (1 - banded.low))


def _savings(bars: _Bars) -> _Bars:
    untrainable = {banded.case for banded in _baseline(bars) if not banded.bar.trains}
    found = _select(bars, series="vdnn-dyn", part="average saved")
    return [banded for banded in found if banded.case in untrainable]


def _baseline(bars: _Bars) -> _Bars:
    """One bar of the baseline (p) for each network."""
    return list({banded.case: banded for banded in _select(bars, series="baseline(p)")}.values())


def _end(read: Callable[[_Bars], _Bars], end: Callable[..., float]) -> _Reader:
    """The least (`min`) or most (`max`) of several bars."""

    def extreme(bars: _Bars) -> Ours:
        found = read(bars)
        lowest, highest = end(banded.low for banded in found), end(banded.high for banded in found)
        return Ours(end(banded.bar.value for banded in found), lowest, highest, tuple(found))

    return extreme


def _loss_of(case: str) -> _Reader:
    def read(bars: _Bars) -> Ours:
        found = _loss(_select(bars, case, "vdnn-dyn")[0])
        return Ours(found.bar.value, found.low, found.high, (found,))

    return read


def _count(series: str, trains: bool) -> _Reader:
    def read(bars: _Bars) -> Ours:
        by_case = {banded.case: banded for banded in _select(bars, series=series) if banded.bar.axis == "left"}
        found = tuple(by_case.values())
        counted = float(sum(banded.bar.trains == trains for banded in found))
        always = sum((banded.trains_in == 1) if trains else (banded.trains_in == 0) for banded in found)
        ever = sum((banded.trains_in > 0) if trains else (banded.trains_in < 1) for banded in found)
        return Ours(counted, float(always), float(ever), found)

    return read


def _throughput(bars: _Bars) -> Ours:
    """The mean of vdnn-dyn's performance; the baseline's is the oracle's wherever it trains."""
    found = _select(bars, series="vdnn-dyn")
    scale = 100 / len(found)
    lowest, highest = sum(banded.low for banded in found), sum(banded.high for banded in found)
    return Ours(scale * sum(banded.bar.value for banded in found), scale * lowest, scale * highest, tuple(found))


def _power_range(bars: _Bars) -> Ours:
    found = [banded for banded in bars if banded.bar.series.endswith("maximum") and banded.bar.value]
    most = max(found, key=lambda banded: banded.bar.value)
    return Ours(most.bar.value, most.low, most.high, tuple(found))


def _same(value: float) -> float:
    return value


def _kept(loss: float) -> float:
    """A loss in percent as performance."""
    return 1 - loss / 100


class Reading(NamedTuple):
    """The figures that a claim's number is read from, the case it is about, how it is read, and what it is on the axis
    of the figure."""

    figures: tuple[str, ...]
    case: str
    read: _Reader
    on_axis: Callable[[float], float] = _same


_ALL = ""
"""In place of a case: the claim is about all cases of its figures together."""
_SIX = ("11", "15")
_ALEXNET, _OVERFEAT, _GOOGLENET = "AlexNet (128)", "OverFeat (128)", "GoogLeNet (128)"
_VGG64, _VGG128, _VGG256 = "VGG-16 (64)", "VGG-16 (128)", "VGG-16 (256)"
_READERS: Mapping[str, Reading] = MappingProxyType(
    {
        "saved AlexNet": Reading(("11",), _ALEXNET, _best_saving(_ALEXNET)),
        "saved OverFeat": Reading(("11",), _OVERFEAT, _best_saving(_OVERFEAT)),
        "saved GoogLeNet": Reading(("11",), _GOOGLENET, _best_saving(_GOOGLENET)),
        "baseline VGG-16 (256)": Reading(("1",), _VGG256, _one(_VGG256, part="allocated")),
        "loss VGG-16 (256)": Reading(("14",), _VGG256, _loss_of(_VGG256), _kept),
        "untrainable baseline": Reading(_SIX, _ALL, _count("baseline(p)", trains=False)),
        "trainable vdnn-dyn": Reading(_SIX, _ALL, _count("vdnn-dyn", trains=True)),
        "least saved": Reading(_SIX, _ALL, _end(_savings, min)),
        "most saved": Reading(_SIX, _ALL, _end(_savings, max)),
        "least loss": Reading(("14", "15"), _ALL, _end(_losses, min)),
        "most loss": Reading(("14", "15"), _ALL, _end(_losses, max)),
        "share AlexNet": Reading(("4",), _ALEXNET, _one(_ALEXNET, part="feature extraction")),
        "share VGG-16 (256)": Reading(("4",), _VGG256, _one(_VGG256, part="feature extraction")),
        "baseline AlexNet": Reading(("1",), _ALEXNET, _one(_ALEXNET, part="allocated")),
        "baseline VGG-16 (128)": Reading(("1",), _VGG128, _one(_VGG128, part="allocated")),
        "throughput": Reading(("14",), _ALL, _throughput),
        "offloaded": Reading(("12",), _VGG256, _one(_VGG256, "vdnn-all(m)")),
        "reuse AlexNet": Reading(("6",), _ALEXNET, _one(_ALEXNET, "reuse distance of X")),
        "reuse VGG-16 (64)": Reading(("6",), _VGG64, _one(_VGG64, "reuse distance of X")),
        "maximum power": Reading(("power",), _ALL, _power_range),
    }
)
