"""Figures of sweeps: heat maps, lines, thresholds, Pareto fronts."""

from vdnnsim.figures.sweep.plot import KINDS, plot_sweep

__all__ = ["KINDS", "plot_sweep"]
