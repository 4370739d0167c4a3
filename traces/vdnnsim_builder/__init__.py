"""Builds traces of GPUs that nobody here can run: published numbers where there are some, models for the rest. A use of
vdnnsim's public interface."""

from vdnnsim_builder.constants import FITS, Fit
from vdnnsim_builder.same_shape import SHIPPED_SAME_SHAPE, build_same_shape, write_same_shape, write_shipped_same_shape
from vdnnsim_builder.titan_x_maxwell import GPU, SHIPPED, build_trace, write_built, write_shipped
from vdnnsim_builder.uncertainty import moves, perturbed

__all__ = [
    "FITS",
    "GPU",
    "SHIPPED",
    "SHIPPED_SAME_SHAPE",
    "Fit",
    "build_same_shape",
    "build_trace",
    "moves",
    "perturbed",
    "write_built",
    "write_same_shape",
    "write_shipped",
    "write_shipped_same_shape",
]
