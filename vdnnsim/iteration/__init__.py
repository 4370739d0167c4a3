"""One training iteration as operators and tensors, and schedules: what becomes of each tensor, and who waits."""

from vdnnsim.iteration.compression import Compression
from vdnnsim.iteration.operators import Buffer, Iteration, Key, MemoryClass, Operator, Stage, Tensor
from vdnnsim.iteration.paging import Paging
from vdnnsim.iteration.schedule import (
    Action,
    BrokenSchedule,
    CopyStreams,
    Layout,
    Leave,
    OwnCopy,
    Remake,
    Schedule,
    Shared,
    Waits,
    WeightGradients,
)

__all__ = [
    "Action",
    "BrokenSchedule",
    "Buffer",
    "Compression",
    "CopyStreams",
    "Iteration",
    "Key",
    "Layout",
    "Leave",
    "MemoryClass",
    "Operator",
    "OwnCopy",
    "Paging",
    "Remake",
    "Schedule",
    "Shared",
    "Stage",
    "Tensor",
    "Waits",
    "WeightGradients",
]
