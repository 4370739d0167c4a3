"""Numbers from timelines: bytes in use, time per layer, what binds."""

from vdnnsim.metrics.memory import MemoryUse, UseByClass, memory_use, use_by_class
from vdnnsim.metrics.steps import StepName, StepTime, reuse_distances_ns, step_times
from vdnnsim.metrics.verdict import verdict

__all__ = [
    "MemoryUse",
    "StepName",
    "StepTime",
    "UseByClass",
    "memory_use",
    "reuse_distances_ns",
    "step_times",
    "use_by_class",
    "verdict",
]
