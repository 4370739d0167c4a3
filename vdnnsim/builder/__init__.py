"""Builds traces of GPUs that nobody here can run: published numbers where there are some, models for the rest."""

from vdnnsim.builder.constants import FITS, Fit
from vdnnsim.builder.same_shape import SHIPPED_SAME_SHAPE, build_same_shape, write_same_shape, write_shipped_same_shape
from vdnnsim.builder.titan_x_maxwell import GPU, SHIPPED, build_trace, write_built, write_shipped

__all__ = [
    "FITS",
    "GPU",
    "SHIPPED",
    "SHIPPED_SAME_SHAPE",
    "Fit",
    "build_same_shape",
    "build_trace",
    "write_built",
    "write_same_shape",
    "write_shipped",
    "write_shipped_same_shape",
]
