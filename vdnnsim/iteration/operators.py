"""One iteration as operators in order, each with the tensors that it reads and writes.

Nothing here knows of kinds of layers, of shapes, or of how wide an element is: whoever brings a model in (the CNNs of
`network`, a captured step) turns it into this, and policies, programs and machines go by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

Key = tuple[str, str]
"""An operator by its layer and pass, as traces have it."""


class MemoryClass(StrEnum):
    """What a buffer is for; the classes of the paper's memory breakdown."""

    WEIGHTS = "weights"
    WEIGHT_GRADIENTS = "weight gradients"
    FEATURE_MAPS = "feature maps"
    GRADIENT_MAPS = "gradient maps"
    WORKSPACE = "workspace"


class Buffer(NamedTuple):
    """A block of device memory. `layer` is the layer it is allocated for; `name` is unique in the program. All blocks
    of a program are of one kind of classes: `MemoryClass`, or that of another world than CNNs'. `address` is where a
    schedule has it lie (None: where the pool puts it). One `apart` is taken while another stream than the kernels' is
    current, whose memory PyTorch's allocator keeps apart."""

    name: str
    size_bytes: int
    memory_class: StrEnum
    layer: str
    in_classifier: bool
    address: int | None = None
    apart: bool = False


class Tensor(NamedTuple):
    """What operators read and write, with the block that holds it where it has one of its own. `aliases` are other
    names of the same bytes, or of parts of them (layers that write into one map)."""

    buffer: Buffer
    element_bytes: int = 4
    aliases: tuple[str, ...] = ()


class Operator(NamedTuple):
    """The kernels of one pass of a layer, in the stage of this number.

    `reads` and `writes` are names of tensors in the order in which blocks are taken for them; one that is worked on in
    place is in both. `adds` are those written to which it adds, because another operator wrote them before (cuDNN's
    beta = 1); they are in both as well.
    """

    layer: str
    pass_: str
    stage: int
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    adds: frozenset[str] = frozenset()

    @property
    def key(self) -> Key:
        return self.layer, self.pass_

    @property
    def title(self) -> str:
        return f"{self.layer} {self.pass_}"


class Stage(NamedTuple):
    """A layer's forward or backward: operators between which a schedule's actions do not fall.

    `kind` is what its world calls the layer; only policies look at it. `inputs` are the tensors that the layer reads as
    its X in forward, in order, less one that it works on in place; a backward stage has those of its `forward` stage.
    """

    layer: str
    backward: bool
    in_classifier: bool
    kind: str
    inputs: tuple[str, ...]
    forward: int

    @property
    def title(self) -> str:
        return f"{self.layer} {'backward' if self.backward else 'forward'}"


@dataclass(frozen=True)
class Iteration:
    """One iteration. `operators` are in order and their stages ascend; `tensors` in the order in which blocks of one
    stage are given back; `inputs` hold their values before it begins. `again` are forward operators as they are when
    they run once more in the same iteration: they make the same tensors, with what they kept for backward."""

    stages: tuple[Stage, ...]
    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    inputs: frozenset[str]
    again: Mapping[Key, Operator] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"<Iteration of {len(self.operators)} operators in {len(self.stages)} stages, {len(self.tensors)} tensors>"
        )

    @cached_property
    def operators_of_stage(self) -> tuple[tuple[Operator, ...], ...]:
        """The operators of each stage."""
        found: list[list[Operator]] = [[] for _ in self.stages]
        for operator in self.operators:
            found[operator.stage].append(operator)
        return tuple(map(tuple, found))

    @cached_property
    def buffers(self) -> Mapping[str, Buffer]:
        """The block of each tensor."""
        return {name: tensor.buffer for name, tensor in self.tensors.items()}

    @cached_property
    def users(self) -> Mapping[str, tuple[Key, ...]]:
        """The operators that read or write each tensor, in order."""
        found: dict[str, list[Key]] = {name: [] for name in self.tensors}
        for operator in self.operators:
            for name in dict.fromkeys((*operator.reads, *operator.writes)):
                found[name].append(operator.key)
        return {name: tuple(keys) for name, keys in found.items()}

    @cached_property
    def weight_gradients(self) -> frozenset[str]:
        """The tensors that are gradients of weights."""
        classes = ((name, tensor.buffer.memory_class) for name, tensor in self.tensors.items())
        return frozenset(name for name, memory_class in classes if memory_class is MemoryClass.WEIGHT_GRADIENTS)

    @cached_property
    def written(self) -> frozenset[str]:
        """The tensors that some operator writes."""
        return frozenset(name for operator in self.operators for name in operator.writes)

    @cached_property
    def by_key(self) -> Mapping[Key, Operator]:
        return {operator.key: operator for operator in self.operators}

    @cached_property
    def first_stage(self) -> Mapping[str, int]:
        """The stage that first reads or writes each tensor."""
        first: dict[str, int] = {}
        for operator in self.operators:
            for name in (*operator.reads, *operator.writes):
                first.setdefault(name, operator.stage)
        return first

    @cached_property
    def last_stage(self) -> Mapping[str, int]:
        """The stage that last reads or writes each tensor."""
        return {name: op.stage for op in self.operators for name in (*op.reads, *op.writes)}

    @cached_property
    def makers(self) -> Mapping[str, tuple[Key, ...]]:
        """The forward operators that write each tensor, in order."""
        found: dict[str, tuple[Key, ...]] = dict.fromkeys(self.tensors, ())
        for operator in self.operators:
            if not self.stages[operator.stage].backward:
                found.update((name, (*found[name], operator.key)) for name in operator.writes)
        return found

    @cached_property
    def first_read_in_backward(self) -> Mapping[str, int]:
        """The first backward stage that reads each tensor."""
        first: dict[str, int] = {}
        for operator in self.operators:
            if self.stages[operator.stage].backward:
                for name in operator.reads:
                    first.setdefault(name, operator.stage)
        return first

    @cached_property
    def last_input_of(self) -> Mapping[str, int]:
        """The last forward stage whose X each tensor is."""
        return {name: n for n, stage in enumerate(self.stages) if not stage.backward for name in stage.inputs}

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The place of each tensor among the tensors."""
        return {name: place for place, name in enumerate(self.tensors)}
