"""Figures for papers and screens, as PNG, PDF or SVG; the one place that imports matplotlib."""

from vdnnsim.figures.comparison import comparison_figure
from vdnnsim.figures.run import run_figure

__all__ = ["comparison_figure", "run_figure"]
