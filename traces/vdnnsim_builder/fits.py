"""How each constant of `vdnnsim_builder.constants` was fitted: run again, it gives the same numbers.

All fits are least squares of relative deviations, or medians of ratios; a fit's low, median and high are the least,
the middle and the greatest ratio of a measured time to the modelled one, over its samples. Nothing here reads
``totals.csv``: the totals of whole networks are what the model is checked against.

>>> python -m vdnnsim.builder --fits        # every fit, refitted, beside its constant
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from vdnnsim import Kind
from vdnnsim_builder.constants import FITS, Fit
from vdnnsim_builder.costs import (
    LARGE_EDGE,
    bias_gradient_ns,
    bias_ns,
    compute_ratio,
    convolution_work,
    family,
    fully_connected_work,
    gradient_family,
    memory_ratio,
    pool_work,
    spectral_work,
    value,
)
from vdnnsim_builder.published import (
    forward_by_algorithm,
    m60_activations,
    published_convolutions,
    published_layers,
    times_by_pass,
)
from vdnnsim_builder.shapes import ConvShape, group_shape
from vdnnsim_builder.workspace import (
    FFT,
    FFT_TILING,
    FILTER_GRADIENT,
    FORWARD,
    GEMM,
    IMPLICIT_GEMM,
    PRECOMP_GEMM,
    Spectra,
    tiling_spectra,
    whole_map_spectra,
)

CAFFE = "Caffe layers on the Titan X, 2016-02-28"
DLPERF = "dlperf, Tesla M60, cuDNN 7"
DEEPBENCH = "DeepBench, Titan X, cuDNN 5"
LAYERWISE = "convnet-benchmarks L2 to L4, Titan X, cuDNN 3"
LARGE_BATCH = 32
SIGNIFICANT = 4


def refit() -> dict[str, Fit]:
    """Every fit, from the published numbers that came with the package; later fits use the constants of earlier."""
    fits = [*_streaming(), *_convolution_rates(), *_spectral(), *_filter_excess(), *_gemm_ratios(), *_gradients()]
    fits += [*_convolutions(), *_pools(), *_fully_connected()]
    return {fit.name: fit for fit in fits}


def _least_squares(
    names: Sequence[tuple[str, str, bool]], rows: Iterable[Sequence[float]], times_ns: Iterable[float], source: str
) -> list[Fit]:
    """Fits t = sum of coefficient x column, all deviations relative; a name marked True is the coefficient's inverse,
    a rate."""
    columns = np.array([list(row) for row in rows], dtype=float)
    observed_ns = np.array(list(times_ns), dtype=float)
    coefficients, *_ = np.linalg.lstsq(columns / observed_ns[:, None], np.ones(len(observed_ns)), rcond=None)
    ratios = (observed_ns / (columns @ coefficients)).tolist()
    return [
        _fit(name, unit, 1 / found if inverse else found, ratios, source)
        for (name, unit, inverse), found in zip(names, coefficients.tolist(), strict=True)
    ]


def _median(name: str, ratios: Iterable[float], source: str, unit: str = "1") -> Fit:
    found = sorted(ratios)
    middle = median(found)
    return _fit(name, unit, middle, [ratio / middle for ratio in found], source)


def _fit(name: str, unit: str, found: float, ratios: Sequence[float], source: str) -> Fit:
    low, middle, high = (round(ratio, 3) for ratio in (min(ratios), median(ratios), max(ratios)))
    return Fit(name, float(f"{found:.{SIGNIFICANT}g}"), unit, low, middle, high, len(ratios), source)


def _streaming() -> list[Fit]:
    """ReLU: forward reads X and writes Y, backward reads X and dY and writes dX."""
    layers = [entry for entry in published_layers() if entry.layer.kind == Kind.ACTV]
    rows = [(1.0, 2.0 * entry.layer.output_bytes) for entry in layers]
    rows += [(1.0, 3.0 * entry.layer.output_bytes) for entry in layers]
    times = [entry.forward_ns for entry in layers] + [entry.backward_ns for entry in layers]
    names = (("streaming start", "ns", False), ("streaming rate", "B/ns", True))
    m60 = _median("m60 streaming rate", (2 * size / ns for size, ns in m60_activations()), DLPERF, "B/ns")
    return [*_least_squares(names, rows, times, CAFFE), m60]


def _well_filled(shape: ConvShape) -> bool:
    """Large enough that arithmetic alone limits it: whole blocks of channels, and work for many waves of blocks."""
    return min(shape.c, shape.k) >= 128 and not shape.pointwise and shape.flops >= 30e9


def _convolution_rates() -> list[Fit]:
    """Rates of IMPLICIT_PRECOMP_GEMM forward in large convolutions, on both GPUs."""
    titan = []
    for entry in published_convolutions():
        shape = group_shape(entry.layer)
        if _well_filled(shape):
            titan.append(shape.flops / (entry.forward_ns - bias_ns(shape)))
    m60 = [
        shape.flops / times[PRECOMP_GEMM]
        for shape, times in forward_by_algorithm().items()
        if PRECOMP_GEMM in times and _well_filled(shape)
    ]
    return [
        _median("titan x convolution rate", titan, CAFFE, "flop/ns"),
        _median("m60 convolution rate", m60, DLPERF, "flop/ns"),
    ]


def _spectral() -> list[Fit]:
    """FFT up to 32 x 32 and FFT_TILING together, on the M60: 32 channels and more, batches of 32 and more.

    FFT of 1x1 filters counts, being the same kernels; tiling of 1x1 filters does not, being others.
    """
    rows, times, factors = [], [], []
    for shape, found in forward_by_algorithm().items():
        if not shape.unit_stride:
            continue
        wide = min(shape.c, shape.k) >= 32 and shape.n >= LARGE_BATCH
        whole = whole_map_spectra(shape, FORWARD)
        if FFT in found and whole.edge >= LARGE_EDGE:
            moved, images, operations = spectral_work(shape, whole, FORWARD, FFT)
            streamed = found[FFT] - value("spectral start") - operations / value("spectral product rate")
            factors.append((streamed * value("spectral rate") - images) / moved)
        for algorithm, spectra in ((FFT, whole), (FFT_TILING, tiling_spectra(shape, FORWARD))):
            if wide and algorithm in found and spectra is not None and spectra.edge < LARGE_EDGE:
                moved, images, operations = spectral_work(shape, spectra, FORWARD, algorithm)
                rows.append((1.0, moved + images, operations))
                times.append(found[algorithm])
    names = (
        ("spectral start", "ns", False),
        ("spectral rate", "B/ns", True),
        ("spectral product rate", "flop/ns", True),
    )
    large = _median("large transform factor", factors, DLPERF)
    return [*_least_squares(names, rows, times, DLPERF), large]


def _filter_excess() -> list[Fit]:
    """How many spectra's worth of bytes per spectrum of dW the filter gradient moves beyond the forward pass: from the
    one published layer of each edge whose passes all ran FFT (cuDNN 3; nothing of it is public for cuDNN 4)."""
    fits = []
    for times in times_by_pass():
        if times.source.split(",")[0].split()[-1] in ("L2", "L3", "L4") and times.backward_filter_ns is not None:
            spectra = whole_map_spectra(times.shape, FILTER_GRADIENT)
            excess_ns = times.backward_filter_ns - times.forward_ns
            moved = excess_ns * value("spectral rate") * memory_ratio()
            name = f"filter gradient excess {spectra.edge}"
            fits.append(_median(name, [moved / (spectra.bytes_each * spectra.w)], LAYERWISE))
    return fits


def _gemm_ratios() -> list[Fit]:
    """IMPLICIT_GEMM and GEMM against IMPLICIT_PRECOMP_GEMM, per family of filters, on the M60, batches from 128."""
    implicit: dict[str, list[float]] = {"1x1": [], "larger": []}
    explicit: dict[str, list[float]] = {"1x1": [], "larger": []}
    for shape, found in forward_by_algorithm().items():
        if {PRECOMP_GEMM, IMPLICIT_GEMM, GEMM} <= set(found):
            columns_ns = 2 * shape.column_bytes / value("spectral rate")
            implicit[family(shape)].append(found[IMPLICIT_GEMM] / found[PRECOMP_GEMM])
            explicit[family(shape)].append(found[GEMM] / (found[PRECOMP_GEMM] + columns_ns))
    return [_median(f"implicit gemm ratio {name}", ratios, DLPERF) for name, ratios in implicit.items()] + [
        _median(f"explicit gemm factor {name}", ratios, DLPERF) for name, ratios in explicit.items()
    ]


def _gradients() -> list[Fit]:
    """The gradients of implicit GEMMs against the forward pass: apart from DeepBench, both together from Caffe."""
    unit_stride: list[float] = []
    strided: list[float] = []
    few_channels: dict[ConvShape, list[float]] = {}
    for times in times_by_pass():
        shape = times.shape
        if not times.source.startswith("DeepBench") or times.backward_filter_ns is None:
            continue
        if shape.c < 16:
            one_image = replace(shape, n=1)
            few_channels.setdefault(one_image, []).append(times.backward_filter_ns / times.forward_ns)
        elif times.backward_data_ns is not None:
            chosen = unit_stride if shape.unit_stride else strided
            chosen.append(times.backward_data_ns / times.forward_ns)
    both: dict[str, list[float]] = {"1x1": [], "larger": [], "few channels": []}
    for entry in published_convolutions():
        shape = group_shape(entry.layer)
        gradients = entry.backward_ns - bias_gradient_ns(shape)
        both[gradient_family(shape)].append(gradients / (entry.forward_ns - bias_ns(shape)))
    per_shape = [median(ratios) for ratios in few_channels.values()]
    return [
        _median("data gradient ratio unit stride", unit_stride, DEEPBENCH),
        _median("data gradient ratio strided", strided, DEEPBENCH),
        _median("filter gradient ratio few channels", per_shape, DEEPBENCH),
        *(_median(f"gradients ratio {name}", ratios, CAFFE) for name, ratios in both.items()),
    ]


def _convolutions() -> list[Fit]:
    rows, times = [], []
    for entry in published_convolutions():
        shape = group_shape(entry.layer)
        rows.append((1.0, *convolution_work(shape)))
        times.append(entry.forward_ns - bias_ns(shape))
    names = (
        ("convolution start", "ns", False),
        ("convolution rate", "flop/ns", True),
        ("convolution byte rate", "B/ns", True),
    )
    return _least_squares(names, rows, times, CAFFE)


def _pools() -> list[Fit]:
    """Max pools; the one average pool of the logs covers its whole map and is left out."""
    pools = [e for e in published_layers() if e.layer.kind == Kind.POOL and not e.layer.average]
    fits = []
    for pass_ in (FORWARD, "backward"):
        names = ((f"pool {pass_} per input", "ns", False), (f"pool {pass_} per window element", "ns", False))
        times = [entry.forward_ns if pass_ == FORWARD else entry.backward_ns for entry in pools]
        fits += _least_squares(names, [pool_work(entry.layer, pass_) for entry in pools], times, CAFFE)
    return fits


def _fully_connected() -> list[Fit]:
    layers = [entry for entry in published_layers() if entry.layer.kind == Kind.FC]
    fits = []
    for pass_ in (FORWARD, "backward"):
        names = (
            (f"fc {pass_} start", "ns", False),
            (f"fc {pass_} rate", "flop/ns", True),
            (f"fc {pass_} byte rate", "B/ns", True),
        )
        times = [entry.forward_ns if pass_ == FORWARD else entry.backward_ns for entry in layers]
        fits += _least_squares(names, [(1.0, *fully_connected_work(e.layer)) for e in layers], times, CAFFE)
    return fits


def single_image_fft_ratios() -> list[float]:
    """Measured over modelled FFT at batch 1 on the M60, up to 32 x 32: samples the fit has not seen, which only the
    blocks of 64 rows explain."""
    ratios = []
    for shape, found in forward_by_algorithm().items():
        spectra = whole_map_spectra(shape, FORWARD)
        if shape.n == 1 and FFT in found and spectra.edge < LARGE_EDGE and min(shape.c, shape.k) >= 64:
            ratios.append(found[FFT] / _on_m60(shape, spectra, FFT, 1))
    return ratios


def older_fft_ratios() -> list[float]:
    """Measured over modelled FFT forward of cuDNN 3 on the Titan X (L3 and L4), with the constants of this model but
    each spectrum moved twice as often: cuDNN 3 transposed them between the steps."""
    return [
        times.forward_ns / (_on_m60_scaled(times.shape, whole_map_spectra(times.shape, FORWARD), FFT, 2))
        for times in times_by_pass()
        if times.source.split(",")[0].split()[-1] in ("L3", "L4")
    ]


def _on_m60(shape: ConvShape, spectra: Spectra, algorithm: str, moves: int) -> float:
    moved, images, operations = spectral_work(shape, spectra, FORWARD, algorithm)
    streamed = (moves * moved + images) / value("spectral rate")
    return value("spectral start") + streamed + operations / value("spectral product rate")


def _on_m60_scaled(shape: ConvShape, spectra: Spectra, algorithm: str, moves: int) -> float:
    moved, images, operations = spectral_work(shape, spectra, FORWARD, algorithm)
    streamed = (moves * moved + images) / (value("spectral rate") * memory_ratio())
    product = operations / (value("spectral product rate") * compute_ratio())
    return value("spectral start") / memory_ratio() + streamed + product


def fit_table() -> list[str]:
    """One line per fit: constant, refitted value, spread of the samples."""
    found = refit()
    return [
        f"{fit.name:38} {fit.value:>10g} {found[fit.name].value:>10g} {fit.unit:8}"
        f" {fit.low:6.3f} {fit.median:6.3f} {fit.high:6.3f} {fit.samples:4}  {fit.source}"
        for fit in FITS.values()
    ]
