"""The best schedule there is, and a time that none can be below: docs/optimum.md."""

from vdnnsim.optimum.instance import Choice, Gap, Instance, Step, instance_of
from vdnnsim.optimum.model import Model, Solution, Unsolvable
from vdnnsim.optimum.planning import actions_of, schedule_of
from vdnnsim.optimum.rehearsal import Rehearsal
from vdnnsim.optimum.searching import Search, Told
from vdnnsim.optimum.steps import instance_of_step, schedule_of_step

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
    "actions_of",
    "instance_of",
    "instance_of_step",
    "schedule_of",
    "schedule_of_step",
]
