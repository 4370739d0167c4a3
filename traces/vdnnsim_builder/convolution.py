"""Rows of CONV layers: every algorithm of every pass, from a published time where there is one.

Which number a layer starts from, in this order:

1. the published forward and backward of this very layer, or of the same shape and batch in another network;
2. the published times of the same shape at another batch, scaled by the batch;
3. the model: `costs.convolution_ns` forward, `costs.gradients_ns` backward.

These are times of IMPLICIT_PRECOMP_GEMM with the bias. Every other algorithm keeps the bias and replaces the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from vdnnsim import Layer, Network, Provenance, TraceRow
from vdnnsim_builder import costs
from vdnnsim_builder.lookup import Found, find_layer
from vdnnsim_builder.shapes import ConvShape, group_shape
from vdnnsim_builder.sources import Source
from vdnnsim_builder.workspace import (
    DATA_GRADIENT,
    FFT,
    FFT_TILING,
    FILTER_GRADIENT,
    FORWARD,
    GEMM,
    IMPLICIT_GEMM,
    PRECOMP_GEMM,
    algorithms,
    fft_spectra,
    tiling_spectra,
    workspace_bytes,
)

_FFT_SOURCES = {FFT: Source.FFT, FFT_TILING: Source.FFT_TILING}


def convolution_rows(network: Network, layer: Layer) -> Iterator[TraceRow]:
    """The rows of one CONV layer, pass by pass."""
    shape = group_shape(layer)
    base = _start(network, layer, shape)
    forward_bias = layer.groups * costs.bias_ns(shape) if layer.bias else 0.0
    gradient_bias = layer.groups * costs.bias_gradient_ns(shape) if layer.bias else 0.0
    forward = max(base.forward_ns - forward_bias, 0.0)
    gradients = max(base.backward_ns - gradient_bias, 1.0)
    filter_ns = gradients * costs.filter_gradient_share(shape, forward, gradients) + gradient_bias
    backward_total = round(base.backward_ns)
    data_total = backward_total - round(filter_ns)

    yield from _pass_rows(layer, shape, FORWARD, round(base.forward_ns), forward_bias, base.provenance, base.source)
    split = Source.SPLIT_OF_PUBLISHED if base.provenance == Provenance.PUBLISHED else Source.SPLIT_OF_MODELLED
    for pass_, total, bias in (
        (DATA_GRADIENT, data_total, 0.0),
        (FILTER_GRADIENT, backward_total - data_total, gradient_bias),
    ):
        yield from _pass_rows(layer, shape, pass_, total, bias, Provenance.MODELLED, split)


def _start(network: Network, layer: Layer, shape: ConvShape) -> Found:
    found = find_layer(network, layer)
    if found is not None and layer.bias:
        return found
    groups = layer.groups
    if found is not None:  # published with a bias, asked for without
        forward = max(found.forward_ns - groups * costs.bias_ns(shape), 0.0)
        backward = max(found.backward_ns - groups * costs.bias_gradient_ns(shape), 0.0)
        return Found(forward, backward, Provenance.MODELLED, Source.WITHOUT_BIAS)
    forward = groups * costs.convolution_ns(shape)
    backward = costs.gradients_ns(shape, forward)
    if layer.bias:
        forward += groups * costs.bias_ns(shape)
        backward += groups * costs.bias_gradient_ns(shape)
    return Found(forward, backward, Provenance.MODELLED, Source.CONVOLUTION)


def _pass_rows(
    layer: Layer,
    shape: ConvShape,
    pass_: str,
    precomputed_total: int,
    bias: float,
    provenance: Provenance,
    source: str,
) -> Iterator[TraceRow]:
    one_group = max(precomputed_total - bias, 0.0) / layer.groups
    for algorithm in algorithms(shape, pass_):
        workspace = workspace_bytes(shape, pass_, algorithm)
        if algorithm == PRECOMP_GEMM:
            yield _row(layer, pass_, algorithm, precomputed_total, workspace, provenance, source)
            continue
        duration, how = _other_algorithm(shape, pass_, algorithm, one_group)
        total = round(layer.groups * duration + bias)
        yield _row(layer, pass_, algorithm, total, workspace, Provenance.MODELLED, how)


def _other_algorithm(shape: ConvShape, pass_: str, algorithm: str, precomputed_ns: float) -> tuple[float, str]:
    if algorithm == IMPLICIT_GEMM:
        return costs.implicit_gemm_ns(shape, precomputed_ns), Source.IMPLICIT_GEMM
    if algorithm == GEMM:
        return costs.explicit_gemm_ns(shape, precomputed_ns), Source.GEMM
    spectra = (fft_spectra if algorithm == FFT else tiling_spectra)(shape, pass_)
    assert spectra is not None  # `algorithms` offered it
    return costs.spectral_ns(shape, spectra, pass_, algorithm), _FFT_SOURCES[algorithm]


def _row(
    layer: Layer,
    pass_: str,
    algorithm: str,
    duration_ns: int,
    workspace: int,
    provenance: Provenance,
    source: str,
) -> TraceRow:
    return TraceRow(layer.name, pass_, algorithm, duration_ns, workspace, provenance=provenance, source=str(source))
