"""The shape of one convolution, and the sizes that every formula of the builder starts from."""

from __future__ import annotations

from dataclasses import dataclass

from vdnnsim import Layer

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class ConvShape:
    """One convolution in cuDNN's letters: batch n, input c x h x w, k filters of r x s, output p x q."""

    n: int
    c: int
    h: int
    w: int
    k: int
    r: int
    s: int
    pad_h: int = 0
    pad_w: int = 0
    stride_h: int = 1
    stride_w: int = 1

    @property
    def p(self) -> int:
        return (self.h + 2 * self.pad_h - self.r) // self.stride_h + 1

    @property
    def q(self) -> int:
        return (self.w + 2 * self.pad_w - self.s) // self.stride_w + 1

    @property
    def unit_stride(self) -> bool:
        return self.stride_h == self.stride_w == 1

    @property
    def pointwise(self) -> bool:
        """Filters of one pixel: nothing to gain from a transform, and other kernels."""
        return self.r == self.s == 1

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct convolution; the same for all three passes."""
        return 2 * self.n * self.c * self.k * self.r * self.s * self.p * self.q

    @property
    def x_bytes(self) -> int:
        return FLOAT_BYTES * self.n * self.c * self.h * self.w

    @property
    def y_bytes(self) -> int:
        return FLOAT_BYTES * self.n * self.k * self.p * self.q

    @property
    def w_bytes(self) -> int:
        return FLOAT_BYTES * self.c * self.k * self.r * self.s

    @property
    def column_bytes(self) -> int:
        """The matrix that an explicit GEMM unrolls X into, for the whole batch."""
        return FLOAT_BYTES * self.n * self.c * self.r * self.s * self.p * self.q


def group_shape(layer: Layer) -> ConvShape:
    """The convolution of one group of a CONV layer: cuDNN 4 knows no groups, frameworks run them one by one."""
    n, c, h, w = layer.input_shape
    return ConvShape(
        n,
        c // layer.groups,
        h,
        w,
        layer.output_shape[1] // layer.groups,
        *layer.kernel,
        *layer.padding,
        *layer.stride,
    )


def rounded_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple


def power_of_two_from(size: int) -> int:
    """The smallest power of two that is not below `size`."""
    return 1 << (size - 1).bit_length()
