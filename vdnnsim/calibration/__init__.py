"""Calibration: measures links and kernels, runs programs for real, compares with the simulation. Needs torch."""
