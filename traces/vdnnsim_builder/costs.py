"""What each kernel costs on the Titan X: formulas over shapes, with the constants of `vdnnsim_builder.constants`.

All times are in nanoseconds, as floats; the trace rounds them once. Rates are bytes or operations per nanosecond.
"""

from __future__ import annotations

import math

from vdnnsim import Layer
from vdnnsim_builder.constants import FITS
from vdnnsim_builder.shapes import ConvShape, rounded_up
from vdnnsim_builder.workspace import FFT, FILTER_GRADIENT, FORWARD, Spectra

GEMM_ROWS_FFT, GEMM_ROWS_TILING = 64, 32
LARGE_EDGE = 64


def value(name: str) -> float:
    return FITS[name].value


def streaming_ns(moved_bytes: float) -> float:
    """A kernel that only moves bytes: t = start + bytes / bandwidth."""
    return value("streaming start") + moved_bytes / value("streaming rate")


def bias_ns(shape: ConvShape) -> float:
    """Adding the bias: reads and writes Y."""
    return streaming_ns(2 * shape.y_bytes)


def bias_gradient_ns(shape: ConvShape) -> float:
    """The bias gradient: reads dY."""
    return streaming_ns(shape.y_bytes)


def compute_ratio() -> float:
    """How much faster the Titan X computes than the M60 of the tables: ratio of their rates in large convolutions."""
    return value("titan x convolution rate") / value("m60 convolution rate")


def memory_ratio() -> float:
    """How much faster the Titan X streams than the M60 of the tables: ratio of their ReLU rates."""
    return value("streaming rate") / value("m60 streaming rate")


def spectral_work(shape: ConvShape, spectra: Spectra, pass_: str, algorithm: str) -> tuple[float, float, float]:
    """What a transform algorithm does: (bytes of spectra moved, bytes of images moved, operations of the product).

    Every spectrum is written once and read once, that of the filter read once more for every further two tiles (the
    workspace of FFT_TILING has room for two at a time); every image is read or written once. The product is one complex
    matrix product per frequency, 4 multiplications and 4 additions per term. Its rows are the images (times tiles),
    computed in blocks of 64 for FFT and 32 for FFT_TILING; the filter gradient sums over them instead.
    """
    moved = float(spectra.bytes_each * (2 * spectra.x + 2 * spectra.y + (1 + spectra.steps) * spectra.w))
    images = float(shape.x_bytes + shape.w_bytes + shape.y_bytes)
    rows = shape.n * spectra.tiles
    if pass_ != FILTER_GRADIENT:
        rows = rounded_up(rows, GEMM_ROWS_FFT if algorithm == FFT else GEMM_ROWS_TILING)
    return moved, images, 8.0 * spectra.points * rows * shape.c * shape.k


def spectral_ns(shape: ConvShape, spectra: Spectra, pass_: str, algorithm: str) -> float:
    """FFT and FFT_TILING: t = start + bytes / B + operations / R, with B and R of the M60 times the GPUs' ratios.

    Spectra of 64 x 64 and more take several passes over memory, by one fitted factor. In the filter gradient each
    spectrum of dW takes some more, by its edge.
    """
    moved, images, operations = spectral_work(shape, spectra, pass_, algorithm)
    if spectra.edge >= LARGE_EDGE:
        moved *= value("large transform factor")
    if pass_ == FILTER_GRADIENT:
        edge = min(spectra.edge, LARGE_EDGE)
        moved += value(f"filter gradient excess {edge}") * spectra.bytes_each * spectra.w
    memory = value("spectral rate") * memory_ratio()
    compute = value("spectral product rate") * compute_ratio()
    return value("spectral start") / memory_ratio() + (moved + images) / memory + operations / compute


def family(shape: ConvShape) -> str:
    return "1x1" if shape.pointwise else "larger"


def implicit_gemm_ns(shape: ConvShape, precomputed_ns: float) -> float:
    """IMPLICIT_GEMM without workspace: slower than with precomputed indices by one ratio per family of filters."""
    return precomputed_ns * value(f"implicit gemm ratio {family(shape)}")


def explicit_gemm_ns(shape: ConvShape, precomputed_ns: float) -> float:
    """GEMM: the same product, after the column matrix was written, and read again; times one factor per family."""
    columns_ns = 2 * shape.column_bytes / (value("spectral rate") * memory_ratio())
    return (precomputed_ns + columns_ns) * value(f"explicit gemm factor {family(shape)}")


def convolution_work(shape: ConvShape) -> tuple[float, float]:
    """What an implicit GEMM does: (operations with K padded to 32 and CRS to 8, bytes of X and Y)."""
    depth = shape.c * shape.r * shape.s
    operations = 2.0 * shape.n * shape.p * shape.q * rounded_up(shape.k, 32) * rounded_up(depth, 8)
    return operations, float(shape.x_bytes + shape.y_bytes)


def convolution_ns(shape: ConvShape) -> float:
    """IMPLICIT_PRECOMP_GEMM forward, without bias, where no shape like it is published."""
    operations, moved = convolution_work(shape)
    rate, byte_rate = value("convolution rate"), value("convolution byte rate")
    return value("convolution start") + operations / rate + moved / byte_rate


def gradient_family(shape: ConvShape) -> str:
    if shape.c < 16:
        return "few channels"
    return family(shape)


def gradients_ns(shape: ConvShape, forward_ns: float) -> float:
    """Both gradients of an implicit GEMM, without the bias gradient, from its forward time: one ratio per family."""
    return forward_ns * value(f"gradients ratio {gradient_family(shape)}")


def filter_gradient_share(shape: ConvShape, forward_ns: float, both_ns: float) -> float:
    """The part of both gradients that is the filter gradient, from 0.2 to 0.8.

    With few input channels (a first layer) the filter gradient is the better known one: a ratio to the forward time.
    Otherwise the data gradient is: a convolution of the same kernels, whose result has H x W pixels instead of P x Q
    at stride 1, times a ratio per kind of stride.
    """
    if shape.c < 16:
        share = forward_ns * value("filter gradient ratio few channels") / both_ns
    elif shape.unit_stride:
        pixels = shape.h * shape.w / (shape.p * shape.q)
        share = 1 - forward_ns * pixels * value("data gradient ratio unit stride") / both_ns
    else:
        share = 1 - forward_ns * value("data gradient ratio strided") / both_ns
    return min(max(share, 0.2), 0.8)


def pool_work(layer: Layer, pass_: str) -> tuple[float, float]:
    """What a pool does, (elements of X, window elements visited): each output looks at its window in forward; in
    backward each input looks at the windows it may have been the maximum of."""
    inputs = math.prod(layer.input_shape)
    if pass_ == FORWARD:
        return float(inputs), float(math.prod(layer.output_shape) * math.prod(layer.kernel))
    windows = math.prod(-(-kernel // stride) for kernel, stride in zip(layer.kernel, layer.stride, strict=True))
    return float(inputs), float(inputs * min(windows, math.prod(layer.output_shape[2:])))


def pool_ns(layer: Layer, pass_: str) -> float:
    inputs, windows = pool_work(layer, pass_)
    per_input, per_window = value(f"pool {pass_} per input"), value(f"pool {pass_} per window element")
    return inputs * per_input + windows * per_window


def fully_connected_work(layer: Layer) -> tuple[float, float]:
    """Forward of a fully connected layer: (operations, bytes of weights)."""
    n, outputs = layer.output_shape[:2]
    inputs = math.prod(layer.input_shape[1:])
    return 2.0 * n * inputs * outputs, 4.0 * inputs * outputs


def fully_connected_ns(layer: Layer, pass_: str) -> float:
    operations, weights = fully_connected_work(layer)
    start, rate, byte_rate = (value(f"fc {pass_} {part}") for part in ("start", "rate", "byte rate"))
    return start + operations / rate + weights / byte_rate
