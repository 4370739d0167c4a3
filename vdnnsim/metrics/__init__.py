"""Numbers from timelines: bytes in use, time per layer, what binds, energy."""

from vdnnsim.metrics.loss import Loss, loss_against, loss_to_copies, stalls_by_copy_ns
from vdnnsim.metrics.memory import MemoryUse, UseByClass, memory_use, use_by_class
from vdnnsim.metrics.power import PowerUse, power_use
from vdnnsim.metrics.spent import Shares, Spent, shares, spent
from vdnnsim.metrics.steps import StepName, StepTime, reuse_distances_ns, step_times
from vdnnsim.metrics.verdict import binding, verdict

__all__ = [
    "Loss",
    "MemoryUse",
    "PowerUse",
    "Shares",
    "Spent",
    "StepName",
    "StepTime",
    "UseByClass",
    "binding",
    "loss_against",
    "loss_to_copies",
    "memory_use",
    "power_use",
    "reuse_distances_ns",
    "shares",
    "spent",
    "stalls_by_copy_ns",
    "step_times",
    "use_by_class",
    "verdict",
]
