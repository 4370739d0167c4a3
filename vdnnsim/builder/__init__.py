"""Builds traces of GPUs that nobody here can run: published numbers where there are some, models for the rest."""

from vdnnsim.builder.constants import FITS, Fit
from vdnnsim.builder.titan_x_maxwell import GPU, SHIPPED, build_trace, write_built, write_shipped

__all__ = ["FITS", "GPU", "SHIPPED", "Fit", "build_trace", "write_built", "write_shipped"]
