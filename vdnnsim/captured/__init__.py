"""Captured training steps: records, files, and what they are as iterations, traces and programs. Knows no PyTorch."""

from vdnnsim.captured.agenda import HookDeeds, agenda_of, block_name
from vdnnsim.captured.checks import leaves_of, why_it_stays
from vdnnsim.captured.files import check_step, check_step_writable, is_step, read_header, read_step, write_step
from vdnnsim.captured.iteration import OPTIMISER, OUTSIDE, iteration_of_step
from vdnnsim.captured.memory import addresses_of, pool_of, successors_of, unmodelled_allocator
from vdnnsim.captured.plan_file import LeavingBlock, PlanFile
from vdnnsim.captured.plan_matching import Held, SavedView
from vdnnsim.captured.program import build_step
from vdnnsim.captured.remaking import remake_modules
from vdnnsim.captured.schedules import hook_schedule, schedule_of
from vdnnsim.captured.several import check_of_model, check_steps_writable, is_steps, read_steps, write_steps
from vdnnsim.captured.shipped import folder_of, shipped_steps
from vdnnsim.captured.step import (
    BEFORE_STEP,
    AllocatorSegment,
    Block,
    BlockClass,
    CapturedStep,
    Deed,
    Doing,
    HookCosts,
    HookStages,
    ModelKernel,
    ModelOperator,
    Phase,
    SavedTensor,
    Seen,
    StepHeader,
    UnpinnedCopy,
    WaitCosts,
)
from vdnnsim.captured.trace import host_of_step, trace_of_step

__all__ = [
    "BEFORE_STEP",
    "OPTIMISER",
    "OUTSIDE",
    "AllocatorSegment",
    "Block",
    "BlockClass",
    "CapturedStep",
    "Deed",
    "Doing",
    "Held",
    "HookCosts",
    "HookDeeds",
    "HookStages",
    "LeavingBlock",
    "ModelKernel",
    "ModelOperator",
    "Phase",
    "PlanFile",
    "SavedTensor",
    "SavedView",
    "Seen",
    "StepHeader",
    "UnpinnedCopy",
    "WaitCosts",
    "addresses_of",
    "agenda_of",
    "block_name",
    "build_step",
    "check_of_model",
    "check_step",
    "check_step_writable",
    "check_steps_writable",
    "folder_of",
    "hook_schedule",
    "host_of_step",
    "is_step",
    "is_steps",
    "iteration_of_step",
    "leaves_of",
    "pool_of",
    "read_header",
    "read_step",
    "read_steps",
    "remake_modules",
    "schedule_of",
    "shipped_steps",
    "successors_of",
    "trace_of_step",
    "unmodelled_allocator",
    "why_it_stays",
    "write_step",
    "write_steps",
]
