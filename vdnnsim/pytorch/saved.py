"""What the hooks keep of a saved tensor in its place.

One that stays is kept as a detached tensor: the tensor itself would be a cycle that no collector sees (node, what its
hook returned, tensor, node). Of one that leaves its geometry is kept, with its block. PyTorch does not look for changes
in place where there are hooks, so each is kept with the version that it had; of one that left there is an empty tensor
that shares its count of versions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from vdnnsim.errors import VdnnsimError

_POISON = 255
_OURS = 2
"""References to a storage that a tensor and its `untyped_storage()` hold."""


class ChangedInPlace(VdnnsimError, RuntimeError):  # noqa: N818 - reads as what it is
    """A saved tensor that was written before backward needed it, as PyTorch refuses it where there are no hooks;
    ``args`` is (shape, version as saved, version found)."""

    def __str__(self) -> str:
        shape, saved, found = self.args
        return (
            f"a tensor of shape {list(shape)} that backward needs was changed in place: found version {found}, "
            f"expected {saved}, as it was saved; do not change it before backward, or change a copy"
        )


class Geometry(NamedTuple):
    """How a tensor lies in its block; the offset counts elements."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}, strides {list(self.stride)}, from element {self.offset}"

    def of(self, block: torch.Tensor) -> torch.Tensor:
        """The tensor that lies so in the storage of `block`."""
        empty = torch.empty(0, dtype=self.dtype, device=block.device)
        return empty.set_(block.untyped_storage(), self.offset, self.shape, self.stride)


def geometry_of(tensor: torch.Tensor) -> Geometry:
    """How it lies."""
    return Geometry(tensor.dtype, tensor.shape, tensor.stride(), int(tensor.storage_offset()))


class Alive:
    """Everything that a step saves refers to one; once it is gone, nothing of the step is alive."""

    __slots__ = ("__weakref__",)


class _Versioned:
    """What shares a tensor's count of versions, and what it was."""

    __slots__ = ("alive", "tensor", "version")

    def __init__(self, tensor: torch.Tensor, alive: Alive) -> None:
        self.tensor = tensor.detach()
        self.version = tensor._version
        self.alive = alive

    def check(self) -> None:
        """Raises `ChangedInPlace`."""
        if self.tensor._version != self.version:
            raise ChangedInPlace(tuple(self.shape), self.version, self.tensor._version)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.shape


class Kept(_Versioned):
    """A tensor that stays."""

    __slots__ = ()


class Block:
    """A block of one step that leaves. `held` is a tensor in it until the block is dropped; `fetched` holds its bytes
    from the copy in to the last of its `needs`; `awaited` says that the compute stream waits for that copy."""

    __slots__ = (
        "__weakref__",
        "_first",
        "address",
        "awaited",
        "fetched",
        "held",
        "needed",
        "needs",
        "number",
        "storage",
    )

    def __init__(self, number: int, tensor: torch.Tensor, storage: torch.UntypedStorage, needs: int) -> None:
        self.number = number
        self.address = storage.data_ptr()
        self.storage = StorageWeakRef(storage)
        self.held: torch.Tensor | None = tensor.detach()
        self.fetched: torch.Tensor | None = None
        self.awaited = False
        self.needed = False
        self.needs = needs
        self._first: tuple[torch.Tensor, int] | None = None

    @property
    def changed(self) -> bool:
        """Whether the block was written after its first tensor was saved."""
        if self._first is None:
            return False
        witness, version = self._first
        return witness._version != version

    def note(self, left: Left) -> None:
        """A tensor in it was saved: the first one is its witness."""
        if self._first is None:
            self._first = left.tensor, left.version


class Left(_Versioned):
    """A tensor in a block that leaves; `nothing` is an empty tensor of the device."""

    __slots__ = ("block", "geometry")

    def __init__(
        self, tensor: torch.Tensor, geometry: Geometry, block: Block, alive: Alive, nothing: torch.Tensor
    ) -> None:
        super().__init__(tensor, alive)
        self.tensor.data = nothing
        self.geometry = geometry
        self.block = block
        block.note(self)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.geometry.shape


def poison(tensor: torch.Tensor) -> None:
    """Overwrite bytes so that every float in them is NaN."""
    tensor.fill_(_POISON)


def poison_if_ours(held: torch.Tensor) -> None:
    """The same of the whole storage of a tensor, unless others refer to it."""
    storage = held.untyped_storage()
    if torch._C._storage_Use_Count(storage._cdata) == _OURS:
        poison(torch.empty(0, dtype=torch.uint8, device=held.device).set_(storage))
