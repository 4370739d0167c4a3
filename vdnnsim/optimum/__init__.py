"""The best schedule there is, and a time that none can be below: docs/optimum.md."""

from vdnnsim.optimum.instance import Choice, Gap, Instance, Step, instance_of
from vdnnsim.optimum.model import Model, Solution, Unsolvable
from vdnnsim.optimum.planning import schedule_of
from vdnnsim.optimum.rehearsal import Rehearsal
from vdnnsim.optimum.searching import Search, Told

__all__ = [
    "Choice",
    "Gap",
    "Instance",
    "Model",
    "Rehearsal",
    "Search",
    "Solution",
    "Step",
    "Told",
    "Unsolvable",
    "instance_of",
    "schedule_of",
]
