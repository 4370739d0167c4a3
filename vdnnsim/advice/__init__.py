"""Does it pay here, and what should be set? `asking` puts the answer together, `plans` finds what fits in a memory."""

from vdnnsim.advice.asking import advise
from vdnnsim.advice.records import Advice, CapacityFlip, FittingPlan, LinkFlip, Point, Reach

__all__ = ["Advice", "CapacityFlip", "FittingPlan", "LinkFlip", "Point", "Reach", "advise"]
