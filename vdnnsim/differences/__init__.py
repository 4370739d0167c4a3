"""Two stored things of a kind beside each other: results, calibrations, profiles of GPUs, configurations."""

from vdnnsim.differences.comparing import diff
from vdnnsim.differences.records import Change, Difference, LayerChange

__all__ = ["Change", "Difference", "LayerChange", "diff"]
