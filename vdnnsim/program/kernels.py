"""The kernels of each layer in the order in which an iteration runs them, the same for every layout."""

from __future__ import annotations

from collections.abc import Callable

from vdnnsim.network import DATA, Kind, Layer, Network
from vdnnsim.policies.plan import Plan
from vdnnsim.program.commands import Buffer, Kernel

BACKWARD_ORDER = ("backward_sum", "backward_filter", "backward_data", "backward")
"""CONV: filter gradient, then data gradient, one after the other (vDNN)."""
WRITES_GRADIENT = frozenset({"backward_data", "backward"})
_NONE: frozenset[str] = frozenset()


def gradient_targets(network: Network, layer: Layer) -> tuple[str, ...]:
    """The maps whose gradient the layer's backward writes: those of its X, each once. Training needs no gradient of the
    input data; CONV and FC can leave it out, other kinds make it with the same kernel as the rest."""
    skips_data = layer.kind in (Kind.CONV, Kind.FC)
    names = (feature_map.name for feature_map in network.input_maps(layer))
    return tuple(name for name in names if not (skips_data and name == DATA))


class KernelOrder:
    """Hands out kernels; backward must be asked in backward order, since it notes which gradients exist already.

    `workspace` gives the buffer of a (layer, pass) that needs so many bytes.
    """

    def __init__(self, network: Network, plan: Plan, workspace: Callable[[Layer, str, int], Buffer]) -> None:
        self._network = network
        self._algorithms = plan.algorithms
        self._workspaces = plan.workspaces
        self._workspace = workspace
        self._written: set[str] = set()

    def forward(self, layer: Layer) -> list[Kernel]:
        return self._kernels(layer, ("forward",))

    def backward(self, layer: Layer) -> list[Kernel]:
        return self._kernels(layer, BACKWARD_ORDER)

    def _kernels(self, layer: Layer, passes: tuple[str, ...]) -> list[Kernel]:
        kernels = []
        for pass_ in passes:
            key = layer.name, pass_
            algorithm = self._algorithms.get(key)
            if algorithm is None:
                continue
            size_bytes = self._workspaces.get(key)
            workspace = self._workspace(layer, pass_, size_bytes) if size_bytes else None
            accumulates = self._accumulates(layer) if pass_ in WRITES_GRADIENT else _NONE
            kernels.append(Kernel(layer.name, pass_, algorithm, workspace, accumulates))
        return kernels

    def _accumulates(self, layer: Layer) -> frozenset[str]:
        """The maps whose gradient is there already when this layer's backward writes it."""
        targets = gradient_targets(self._network, layer)
        again = self._written.intersection(targets)
        self._written.update(targets)
        return frozenset(again) if again else _NONE
