"""The best schedule there is, and a time that none can be below: docs/optimum.md."""

from vdnnsim.optimum.changing_steps import changes_of_step
from vdnnsim.optimum.instance import Choice, Gap, Instance, Step, instance_of
from vdnnsim.optimum.model import Model, Solution, Unsolvable
from vdnnsim.optimum.planning import actions_of, schedule_of
from vdnnsim.optimum.rehearsal import Rehearsal
from vdnnsim.optimum.searching import Search, Told
from vdnnsim.optimum.searching_steps import StepSearch
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
    "StepSearch",
    "Told",
    "Unsolvable",
    "actions_of",
    "changes_of_step",
    "instance_of",
    "instance_of_step",
    "schedule_of",
    "schedule_of_step",
]
