"""Programs: a plan turned into the commands of one training iteration."""

from vdnnsim.network import Network
from vdnnsim.policies.plan import Layout, Plan
from vdnnsim.program.buffers import WeightGradients
from vdnnsim.program.commands import (
    Allocate,
    Buffer,
    Command,
    CopyIn,
    CopyOut,
    Free,
    HostWait,
    Kernel,
    MemoryClass,
    Piece,
    Program,
    Step,
    Stream,
    StreamWait,
    Synchronise,
)
from vdnnsim.program.layer_wise import build_layer_wise
from vdnnsim.program.network_wide import build_network_wide
from vdnnsim.program.operands import Operands, operands_of
from vdnnsim.program.order import NotGiven, Order


def build_program(
    network: Network, plan: Plan, weight_gradients: WeightGradients = WeightGradients.PER_LAYER
) -> Program:
    """The program of a plan, in the plan's layout."""
    build = build_network_wide if plan.layout is Layout.NETWORK_WIDE else build_layer_wise
    return build(network, plan, weight_gradients)


__all__ = [
    "Allocate",
    "Buffer",
    "Command",
    "CopyIn",
    "CopyOut",
    "Free",
    "HostWait",
    "Kernel",
    "MemoryClass",
    "NotGiven",
    "Operands",
    "Order",
    "Piece",
    "Program",
    "Step",
    "Stream",
    "StreamWait",
    "Synchronise",
    "WeightGradients",
    "build_program",
    "operands_of",
]
