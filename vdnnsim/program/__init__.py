"""Programs: a plan turned into the commands of one training iteration."""

from functools import cached_property

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
from vdnnsim.program.layer_wise import LayerWise
from vdnnsim.program.network_wide import build_network_wide
from vdnnsim.program.operands import Operands, operands_of
from vdnnsim.program.order import NotGiven, Order


class Programs:
    """The programs of one network's plans, in each plan's layout; what no plan changes is worked out once."""

    def __init__(self, network: Network, weight_gradients: WeightGradients = WeightGradients.PER_LAYER) -> None:
        self._network = network
        self._weight_gradients = weight_gradients

    @cached_property
    def _layer_wise(self) -> LayerWise:
        return LayerWise(self._network, self._weight_gradients)

    def build(self, plan: Plan) -> Program:
        """The program of a plan."""
        if plan.layout is Layout.NETWORK_WIDE:
            return build_network_wide(self._network, plan, self._weight_gradients)
        return self._layer_wise.build(plan)


def build_program(
    network: Network, plan: Plan, weight_gradients: WeightGradients = WeightGradients.PER_LAYER
) -> Program:
    """The program of a plan, in the plan's layout."""
    return Programs(network, weight_gradients).build(plan)


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
    "Programs",
    "Step",
    "Stream",
    "StreamWait",
    "Synchronise",
    "WeightGradients",
    "build_program",
    "operands_of",
]
