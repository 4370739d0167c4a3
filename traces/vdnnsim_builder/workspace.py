"""Which algorithms cuDNN 4 has for a convolution pass, and how much workspace each asks for.

Algorithms carry the names of the forward pass. cuDNN 4's names for the other two passes:

====================== ========================== ================== ===================
here                   forward                    data gradient      filter gradient
====================== ========================== ================== ===================
IMPLICIT_GEMM          IMPLICIT_GEMM              ALGO_0             ALGO_0
IMPLICIT_PRECOMP_GEMM  IMPLICIT_PRECOMP_GEMM      ALGO_1             ALGO_1, ALGO_3
GEMM                   GEMM                       none               none
FFT                    FFT                        FFT                FFT
FFT_TILING             FFT_TILING                 FFT_TILING         none before cuDNN 6
====================== ========================== ================== ===================

cuDNN 4's release notes say that tiling came for the forward pass and the data gradient; an explicit GEMM never
existed for gradients. A pass gets rows only for what its library had. DIRECT was never implemented.

The forward formulas were found from cuDNN 7 on other GPUs (dlperf, filters above 1x1 for the transforms): GEMM, FFT and
FFT_TILING agree to the byte with every row that is kept, IMPLICIT_PRECOMP_GEMM to 2 bytes. FFT_TILING holds the
spectra of two tiles of every image at a time (of one, where a map is one tile), so it goes over a large map in steps.
cuDNN 4 may differ. For gradients nothing is public; the formulas are carried over by the part each tensor plays:

* the data gradient is a convolution of dY with the flipped filter that gives dX: C and K change places, P x Q and
  H x W too, and the padding becomes R - 1 - padding;
* the filter gradient transforms X and dY and brings back dW: max(CK + NC, NK) becomes max(NC + NK, CK).
"""

from __future__ import annotations

from dataclasses import dataclass

from vdnnsim_builder.shapes import ConvShape, power_of_two_from

FORWARD, DATA_GRADIENT, FILTER_GRADIENT = "forward", "backward_data", "backward_filter"
CONV_PASSES = (FORWARD, DATA_GRADIENT, FILTER_GRADIENT)
IMPLICIT_GEMM = "IMPLICIT_GEMM"
PRECOMP_GEMM = "IMPLICIT_PRECOMP_GEMM"
GEMM = "GEMM"
FFT = "FFT"
FFT_TILING = "FFT_TILING"

SMALLEST_EDGE = 16
LARGEST_EDGE = 256
TILE_EDGE = 32
TILES_AT_ONCE = 2
_COMPLEX_BYTES = 8


@dataclass(frozen=True, slots=True)
class Spectra:
    """The transforms of one pass: edge of each, tiles per map, and the number of maps (times tiles) of each tensor."""

    edge: int
    tiles: int
    x: int
    w: int
    y: int

    @property
    def steps(self) -> int:
        """How many times the spectra of the filter are read: once for every two tiles."""
        return -(-self.tiles // TILES_AT_ONCE)

    @property
    def points(self) -> int:
        """Complex numbers that hold the spectrum of a real edge x edge image."""
        return self.edge * (self.edge // 2 + 1)

    @property
    def bytes_each(self) -> int:
        return _COMPLEX_BYTES * self.points


def algorithms(shape: ConvShape, pass_: str) -> tuple[str, ...]:
    """What cuDNN 4 can run for this pass, from the least workspace to transforms."""
    names = [IMPLICIT_GEMM, PRECOMP_GEMM]
    if pass_ == FORWARD:
        names.append(GEMM)
    if fft_spectra(shape, pass_) is not None:
        names.append(FFT)
    if tiling_spectra(shape, pass_) is not None:
        names.append(FFT_TILING)
    return tuple(names)


def fft_spectra(shape: ConvShape, pass_: str) -> Spectra | None:
    """The transforms of FFT, or None where it cannot run: it needs stride 1, a filter above 1x1 and larger than the
    padding, and a padded map of at most 256 pixels a side. One transform covers a whole padded map."""
    spectra = whole_map_spectra(shape, pass_)
    return spectra if _transformable(shape) and spectra.edge <= LARGEST_EDGE else None


def whole_map_spectra(shape: ConvShape, pass_: str) -> Spectra:
    """The transforms of FFT whether or not it can run; an edge is a power of two, 16 or more, that holds the padded
    map."""
    edge = max(SMALLEST_EDGE, power_of_two_from(max(_padded_input(shape, pass_))))
    return Spectra(edge, 1, shape.n * shape.c, shape.c * shape.k, shape.n * shape.k)


def tiling_spectra(shape: ConvShape, pass_: str) -> Spectra | None:
    """The transforms of FFT_TILING, or None: as FFT but with filters up to 32 and any map. Tiles of 32 x 32 overlap by
    a filter less one, so that each gives (33 - R) x (33 - S) pixels of the result."""
    if pass_ == FILTER_GRADIENT or not _transformable(shape) or max(shape.r, shape.s) > TILE_EDGE:
        return None
    height, width = (shape.p, shape.q) if pass_ == FORWARD else (shape.h, shape.w)
    tiles = -(-height // (TILE_EDGE + 1 - shape.r)) * -(-width // (TILE_EDGE + 1 - shape.s))
    return Spectra(TILE_EDGE, tiles, shape.n * shape.c * tiles, shape.c * shape.k, shape.n * shape.k * tiles)


def workspace_bytes(shape: ConvShape, pass_: str, algorithm: str) -> int:
    """The workspace of one convolution (of one group), in bytes."""
    if algorithm == IMPLICIT_GEMM:
        return 0
    if algorithm == PRECOMP_GEMM:
        height, width = (shape.h, shape.w) if pass_ == DATA_GRADIENT else (shape.p, shape.q)
        return 6 * height * width + 8
    if algorithm == GEMM and pass_ == FORWARD:
        return shape.column_bytes
    if algorithm == FFT:
        spectra = fft_spectra(shape, pass_)
        if spectra is not None:
            into, out = {
                FORWARD: (spectra.x + spectra.w, spectra.y),
                DATA_GRADIENT: (spectra.y + spectra.w, spectra.x),
                FILTER_GRADIENT: (spectra.x + spectra.y, spectra.w),
            }[pass_]
            return 2 * spectra.bytes_each * max(into, out) + shape.w_bytes
    if algorithm == FFT_TILING:
        spectra = tiling_spectra(shape, pass_)
        if spectra is not None:
            at_once = min(spectra.tiles, TILES_AT_ONCE)
            maps = spectra.w + shape.n * at_once * (shape.c + shape.k)
            return spectra.bytes_each * maps + 96 * max(256, shape.n) * at_once
    raise ValueError(f"cuDNN 4 has no {algorithm} for {pass_} of {shape}")


def _transformable(shape: ConvShape) -> bool:
    return shape.unit_stride and not shape.pointwise and shape.pad_h < shape.r and shape.pad_w < shape.s


def _padded_input(shape: ConvShape, pass_: str) -> tuple[int, int]:
    if pass_ == DATA_GRADIENT:
        return shape.p + 2 * (shape.r - 1 - shape.pad_h), shape.q + 2 * (shape.s - 1 - shape.pad_w)
    return shape.h + 2 * shape.pad_h, shape.w + 2 * shape.pad_w
