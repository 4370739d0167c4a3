"""Which kernels a network has, and with which algorithms each can be run on a device."""

from __future__ import annotations

from collections.abc import Mapping

from vdnnsim.iteration import Layout
from vdnnsim.machines.real.operators import Algorithm, Operators, Place
from vdnnsim.network import Kind, Network, layout_of
from vdnnsim.policies.plan import Plan, plan_of
from vdnnsim.trace import DEFAULT_ALGORITHM, required_passes

Choices = Mapping[tuple[str, str], tuple[Algorithm, ...]]
"""What each (layer, pass) can be run with."""


def choices_of(network: Network, operators: Operators) -> Choices:
    """Every pass of the network with its algorithms; layers other than CONV have one, without workspace."""
    choices = {}
    for name, pass_ in required_passes(network):
        layer = network.by_name[name]
        if layer.kind == Kind.CONV:
            x = Place(*layout_of(network, layer.inputs[0]))
            y = Place(*layout_of(network, name))
            choices[name, pass_] = tuple(operators.algorithms(layer, pass_, x, y))
        else:
            choices[name, pass_] = (Algorithm(DEFAULT_ALGORITHM, 0),)
    return choices


def plan_of_first_choices(network: Network, operators: Operators, layout: Layout, offload: frozenset[str]) -> Plan:
    """A plan for measurements before there is a trace: each pass with the first algorithm that the device names."""
    chosen = {key: found[0] for key, found in choices_of(network, operators).items()}
    return plan_of(
        network,
        layout,
        offload,
        {key: algorithm.name for key, algorithm in chosen.items()},
        {key: algorithm.workspace_bytes for key, algorithm in chosen.items()},
    )
