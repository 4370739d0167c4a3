"""The band around a number: traces whose modelled times are moved within the spread of their fits.

Each fit of `vdnnsim_builder` states the lowest and highest of measured over modelled times of what it was fitted to. A
sample draws one factor for each fit within them, and every row that rests on the fit moves by it: kernels of one kind
move together, the worst case for a sum. Published times move together within the 10 % that the traces' conditions
state. Factors are drawn as a Latin hypercube: over n samples each fit's spread is cut into n equal parts, and each part
is used once. A measured trace has no such rows, so that nothing moves.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from vdnnsim import Kind, Network, Trace, TraceHeader, TraceRow
from vdnnsim_builder.constants import FITS
from vdnnsim_builder.costs import LARGE_EDGE, family, gradient_family
from vdnnsim_builder.shapes import ConvShape, group_shape
from vdnnsim_builder.sources import Source
from vdnnsim_builder.workspace import (
    DATA_GRADIENT,
    FILTER_GRADIENT,
    FORWARD,
    PRECOMP_GEMM,
    fft_spectra,
)

PUBLISHED = "published times"
PUBLISHED_SPREAD = (0.9, 1.0, 1.1)
"""Lowest, median and highest: public numbers of this kind are good to 10 % or so (conditions of the traces)."""
_FROM_PUBLISHED = frozenset({Source.PUBLISHED, Source.SAME_SHAPE, Source.OTHER_BATCH, Source.WITHOUT_BIAS})
_SHARE = (0.2, 0.8)
"""A gradient's part of both stays within these, as in the builder."""

Factors = Mapping[str, float]


def perturbed(trace: Trace, network: Network, sample: int, samples: int, seed: int) -> Trace:
    """The trace with every modelled or published row moved; `sample` counts from 1 to `samples`."""
    factors = sample_factors(samples, seed)[sample - 1]
    by_layer: dict[str, list[TraceRow]] = {}
    for row in trace.rows:
        by_layer.setdefault(row.layer, []).append(row)
    rows: list[TraceRow] = []
    for name, own in by_layer.items():
        layer = network.by_name[name]
        if layer.kind == Kind.CONV:
            rows += _convolution(own, group_shape(layer), factors)
        else:
            rows += [_moved(row, _other(row, factors)) for row in own]
    return Trace(trace.header, rows)


def moves(header: TraceHeader) -> bool:
    """Whether a trace has rows that samples move: those that the builder made."""
    return not set(header.sources).isdisjoint(Source)


@cache
def sample_factors(samples: int, seed: int) -> tuple[Factors, ...]:
    """The factor of each fit in each sample; the same numbers for the same arguments."""
    spreads = {name: (fit.low, fit.median, fit.high) for name, fit in FITS.items()}
    spreads[PUBLISHED] = PUBLISHED_SPREAD
    generator = random.Random(seed)
    columns = {}
    for name, spread in sorted(spreads.items()):
        places = list(range(samples))
        generator.shuffle(places)
        columns[name] = [_within(spread, (place + generator.random()) / samples) for place in places]
    return tuple(
        MappingProxyType({name: column[index] for name, column in columns.items()}) for index in range(samples)
    )


def _within(spread: tuple[float, float, float], place: float) -> float:
    """From the lowest at place 0 over the median at 1/2 to the highest at 1, geometrically, less the median itself: the
    trace as it is has the factor 1."""
    low, middle, high = spread
    if place < 0.5:
        return float((low / middle) ** (1 - 2 * place))
    return float((high / middle) ** (2 * place - 1))


def _moved(row: TraceRow, factor: float) -> TraceRow:
    return row._replace(duration_ns=max(1, round(row.duration_ns * factor))) if row.duration_ns else row


def _other(row: TraceRow, factors: Factors) -> float:
    if row.source in _FROM_PUBLISHED:
        return factors[PUBLISHED]
    match row.source:
        case Source.POOL:
            return factors[f"pool {row.pass_} per input"]
        case Source.FULLY_CONNECTED:
            return factors[f"fc {row.pass_} rate"]
        case Source.STREAMING:
            return factors["streaming rate"]
    return 1.0


def _convolution(rows: list[TraceRow], shape: ConvShape, factors: Factors) -> list[TraceRow]:
    """All rows of a CONV: those of implicit GEMM with precomputed indices first, as others are ratios to them."""
    precomputed = {row.pass_: row for row in rows if row.algorithm == PRECOMP_GEMM}
    bases = _base_factors(precomputed, shape, factors)
    return [_moved(row, _algorithm(row, shape, factors, bases)) for row in rows]


def _base_factors(rows: Mapping[str, TraceRow], shape: ConvShape, factors: Factors) -> dict[str, float]:
    forward = rows.get(FORWARD)
    if forward is None or forward.source not in (*_FROM_PUBLISHED, Source.CONVOLUTION):
        return dict.fromkeys((FORWARD, DATA_GRADIENT, FILTER_GRADIENT), 1.0)
    published = forward.source in _FROM_PUBLISHED
    first = factors[PUBLISHED] if published else factors["convolution rate"]
    both = first if published else first * factors[f"gradients ratio {gradient_family(shape)}"]
    return {FORWARD: first, **_split(rows, shape, factors, both)}


def _split(rows: Mapping[str, TraceRow], shape: ConvShape, factors: Factors, both: float) -> dict[str, float]:
    """The factors of both gradients: the better known one moves within its fit, the other is the rest of the sum."""
    data_ns, filter_ns = (rows[pass_].duration_ns if pass_ in rows else 0 for pass_ in (DATA_GRADIENT, FILTER_GRADIENT))
    total_ns = data_ns + filter_ns
    if not data_ns or not filter_ns:
        return {DATA_GRADIENT: both, FILTER_GRADIENT: both}
    few = gradient_family(shape) == "few channels"
    name = "filter gradient ratio few channels" if few else f"data gradient ratio {_stride(shape)}"
    known_ns = filter_ns if few else data_ns
    share = min(max(known_ns * factors[name] / total_ns, _SHARE[0]), _SHARE[1])
    known, rest = both * share * total_ns / known_ns, both * (1 - share) * total_ns / (total_ns - known_ns)
    return {FILTER_GRADIENT: known, DATA_GRADIENT: rest} if few else {DATA_GRADIENT: known, FILTER_GRADIENT: rest}


def _stride(shape: ConvShape) -> str:
    return "unit stride" if shape.unit_stride else "strided"


def _algorithm(row: TraceRow, shape: ConvShape, factors: Factors, bases: Mapping[str, float]) -> float:
    match row.source:
        case Source.FFT | Source.FFT_TILING:
            spectra = fft_spectra(shape, row.pass_) if row.source == Source.FFT else None
            large = spectra is not None and spectra.edge >= LARGE_EDGE
            return factors["large transform factor" if large else "spectral rate"]
        case Source.IMPLICIT_GEMM:
            return bases[row.pass_] * factors[f"implicit gemm ratio {family(shape)}"]
        case Source.GEMM:
            return bases[row.pass_] * factors[f"explicit gemm factor {family(shape)}"]
    return bases[row.pass_]
