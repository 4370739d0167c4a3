"""Programs: a plan turned into the commands of one training iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vdnnsim.iteration import BrokenSchedule, Buffer, MemoryClass, WeightGradients
from vdnnsim.network import Network, iteration_of
from vdnnsim.program.building import Builder, build_iteration
from vdnnsim.program.commands import (
    GPU_STREAMS,
    Allocate,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostCall,
    HostUpdate,
    HostWait,
    Kernel,
    NvmeRead,
    NvmeWrite,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.program.operands import Operands, operands_of
from vdnnsim.program.order import NotGiven, Order

if TYPE_CHECKING:
    from vdnnsim.policies.plan import Plan


def build_program(network: Network, plan: Plan) -> Program:
    """The program of a plan for one iteration of the network. Raises `BrokenSchedule` for one that cannot be."""
    return build_iteration(iteration_of(network, frozenset(plan.algorithms)), plan)


__all__ = [
    "GPU_STREAMS",
    "Allocate",
    "BrokenSchedule",
    "Buffer",
    "Builder",
    "Command",
    "CopyIn",
    "CopyOut",
    "Free",
    "HostCall",
    "HostUpdate",
    "HostWait",
    "Kernel",
    "MemoryClass",
    "NotGiven",
    "NvmeRead",
    "NvmeWrite",
    "Operands",
    "Order",
    "Piece",
    "Program",
    "Step",
    "Stream",
    "StreamWait",
    "Synchronise",
    "WeightGradients",
    "build_iteration",
    "build_program",
    "operands_of",
]
