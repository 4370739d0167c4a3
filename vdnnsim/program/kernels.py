"""The kernels of each layer in the order in which an iteration runs them, the same for every layout."""

from __future__ import annotations

from collections.abc import Iterator

from vdnnsim.network import Layer, Network
from vdnnsim.policies.plan import Plan
from vdnnsim.program.commands import Kernel

BACKWARD_ORDER = ("backward_sum", "backward_filter", "backward_data", "backward")
"""CONV: filter gradient, then data gradient, one after the other (vDNN)."""
WRITES_GRADIENT = frozenset({"backward_data", "backward"})


class KernelOrder:
    """Hands out kernels; backward must be asked in backward order, since it notes which gradients exist already."""

    def __init__(self, network: Network, plan: Plan) -> None:
        self._network = network
        self._algorithms = plan.algorithms
        self._written: set[str] = set()

    def forward(self, layer: Layer) -> Iterator[Kernel]:
        algorithm = self._algorithms.get((layer.name, "forward"))
        if algorithm is not None:
            yield Kernel(layer.name, "forward", algorithm)

    def backward(self, layer: Layer) -> Iterator[Kernel]:
        for pass_ in BACKWARD_ORDER:
            algorithm = self._algorithms.get((layer.name, pass_))
            if algorithm is None:
                continue
            accumulates: frozenset[str] = frozenset()
            if pass_ in WRITES_GRADIENT:
                targets = {feature_map.name for feature_map in self._network.input_maps(layer)}
                accumulates = frozenset(targets & self._written)
                self._written |= targets
            yield Kernel(layer.name, pass_, algorithm, None, accumulates)
