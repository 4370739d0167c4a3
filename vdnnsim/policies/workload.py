"""What is trained, as policies, studies and tables see it: a network of layers, or a captured training step."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol

from vdnnsim.iteration import Iteration, Key, Layout, Schedule, WeightGradients
from vdnnsim.trace import Trace

if TYPE_CHECKING:
    from vdnnsim.captured.step import CapturedStep
    from vdnnsim.network import Network


LONG_KERNELS = ("CONV", "GEMM", "ATTENTION")
"""Kinds whose kernels are long enough to hide the copy of what they read: vDNN's CONV, and in captured steps those that
do as much arithmetic for each byte. A network's FC are in its classifier, and stay."""


class TrainedLayer(Protocol):
    """A row of a table of layers: a layer of a network, a module of a captured step."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def passes(self) -> tuple[str, ...]: ...


class Workload(Protocol):
    """What one iteration trains.

    What may leave has names: of layers, whose X leaves, or of a captured step's blocks. `one_way` says that every
    kernel has one algorithm, so that memory-optimal and performance-optimal ones are the same.
    """

    @property
    def name(self) -> str: ...

    @property
    def batch(self) -> int | None:
        """Images, or samples, of an iteration; None where a captured step does not say."""

    @property
    def sha256(self) -> str:
        """A digest of all that it is, names left out."""

    @property
    def layers(self) -> Sequence[TrainedLayer]:
        """In the order of their first forward."""

    @property
    def one_way(self) -> bool: ...

    @property
    def network(self) -> Network:
        """The network. Raises `InvalidInput` for a captured step."""

    @property
    def step(self) -> CapturedStep:
        """The captured step. Raises `InvalidInput` for a network."""

    def kernels(self, trace: Trace, /) -> Sequence[Key]:
        """Every (layer, pass) that an iteration runs under this trace."""

    def iteration(self, trace: Trace, /) -> Iteration:
        """One iteration as operators and tensors."""

    def in_classifier(self, layer: str, /) -> bool: ...

    def movable(self, kinds: Collection[str] | None = None) -> frozenset[str]:
        """The names of what vDNN would have leave; with `kinds`, only what layers or graph nodes of these kinds read.
        A network's are those of `Kind`; a captured step's are CONV, GEMM and ATTENTION."""

    def unknown(self, names: Collection[str]) -> list[str]:
        """Those that name nothing that could leave, in order."""

    def schedule(
        self, trace: Trace, layout: Layout, offload: Collection[str], weight_gradients: WeightGradients, /
    ) -> Schedule:
        """vDNN's schedule for what has these names."""
