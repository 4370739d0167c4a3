"""The kernels of each layer in the order in which an iteration runs them, the same for every layout."""

from __future__ import annotations

from collections.abc import Iterator

from vdnnsim.network import DATA, Kind, Layer, Network
from vdnnsim.policies.plan import Plan
from vdnnsim.program.commands import Kernel

BACKWARD_ORDER = ("backward_sum", "backward_filter", "backward_data", "backward")
"""CONV: filter gradient, then data gradient, one after the other (vDNN)."""
WRITES_GRADIENT = frozenset({"backward_data", "backward"})


def gradient_targets(network: Network, layer: Layer) -> tuple[str, ...]:
    """The maps whose gradient the layer's backward writes: those of its X, each once. Training needs no gradient of the
    input data; CONV and FC can leave it out, other kinds make it with the same kernel as the rest."""
    skips_data = layer.kind in (Kind.CONV, Kind.FC)
    names = (feature_map.name for feature_map in network.input_maps(layer))
    return tuple(name for name in names if not (skips_data and name == DATA))


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
                targets = set(gradient_targets(self._network, layer))
                accumulates = frozenset(targets & self._written)
                self._written |= targets
            yield Kernel(layer.name, pass_, algorithm, None, accumulates)
