"""Policies: which feature maps leave the GPU, and which algorithm each CONV pass uses. One file each."""

from vdnnsim.iteration import Layout
from vdnnsim.optimum.rehearsal import Life, Rehearsal
from vdnnsim.policies.deciding import decide
from vdnnsim.policies.offload import Offload, offload_plan
from vdnnsim.policies.plan import (
    Laboratory,
    Plan,
    Policy,
    Problem,
    Trial,
    check_plan,
    feature_extraction_layers,
    make_plan,
    memory_optimal,
    performance_optimal,
)
from vdnnsim.policies.registry import (
    GROUPS,
    LATER_POLICIES,
    ONE_WAY_POLICIES,
    PARAMETERISED,
    POLICIES,
    built_in_policies,
    chosen_policies,
    installed_policies,
    make_policy,
)
from vdnnsim.policies.schedules import replace_window, write_schedule
from vdnnsim.policies.vdnn_dyn import VdnnDyn

__all__ = [
    "GROUPS",
    "LATER_POLICIES",
    "ONE_WAY_POLICIES",
    "PARAMETERISED",
    "POLICIES",
    "Laboratory",
    "Layout",
    "Life",
    "Offload",
    "Plan",
    "Policy",
    "Problem",
    "Rehearsal",
    "Trial",
    "VdnnDyn",
    "built_in_policies",
    "check_plan",
    "chosen_policies",
    "decide",
    "feature_extraction_layers",
    "installed_policies",
    "make_plan",
    "make_policy",
    "memory_optimal",
    "offload_plan",
    "performance_optimal",
    "replace_window",
    "write_schedule",
]
