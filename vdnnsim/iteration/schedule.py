"""A schedule: what becomes of each tensor, and who waits for copies. Policies write schedules; programs carry them out.

A tensor without an action is *kept*: its block is taken in the stage that first writes it and given back after the
last stage that uses it, or is there before the iteration begins. Stages are numbers into `Iteration.stages`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from vdnnsim.errors import InvalidInput
from vdnnsim.iteration.compression import Compression
from vdnnsim.iteration.operators import Buffer, Key
from vdnnsim.iteration.paging import Paging


class BrokenSchedule(InvalidInput):
    """A schedule that no program can carry out; ``args`` is (tensor, stage, what is wrong, the rule)."""

    def __str__(self) -> str:
        tensor, stage, found, rule = self.args
        return f"plan: {tensor}, {stage}: found {found}; expected {rule}"


class Layout(StrEnum):
    """How device memory is handed out."""

    NETWORK_WIDE = "network-wide"
    """Everything before the iteration and for all of it, as frameworks of the paper's time did."""
    LAYER_WISE = "layer-wise"
    """Each layer when its turn comes, released when nothing needs it any more: vDNN's memory manager."""


class WeightGradients(StrEnum):
    """How weight gradients are held; the paper leaves it open whether they count.

    PER_LAYER, the default, gives a layer's gradient room while its backward runs, as the public re-implementation of
    vDNN does (the update is applied at once); RESIDENT keeps all of them for the whole iteration, as frameworks
    do whose optimiser runs after backward; NONE leaves them out of the account.
    """

    PER_LAYER = "per-layer"
    RESIDENT = "resident"
    NONE = "none"


class Waits(StrEnum):
    """Who waits, and for what."""

    EACH_LAYER = "each layer"
    """vDNN: the host, at the end of each layer, for its kernels and for the copies given in it."""
    KERNELS = "kernels"
    """vDNN++: the host, at the end of each layer, for its kernels; for a copy where its block is given back or its
    tensor is read."""
    STREAMS = "streams"
    """The host at the end of the iteration; before, streams wait for each other's work by events."""


class CopyStreams(StrEnum):
    """On which streams copies are put."""

    EACH_WAY = "one each way"
    SHARED = "one for both ways"
    """A copy begins when the one given before it is done, whichever way that goes."""
    COMPUTE = "the compute stream"
    """As kernels are: a copy begins when all that was given before is done, and all that is given after it waits."""


class Leave(NamedTuple):
    """A tensor leaves for the host and comes back.

    The copy out is given after the kernels of stage `out`, or never (None) where the host has the bytes already: of
    what the iteration is given and no operator writes. The block is given back at the end of stage `freed`; where it
    may be `freed_early`, at the end of the stage before one in which the pool would find no room. The copy in is given
    at the begin of stage `back`, and waited for before the kernels of stage `needed`. `put_off` says that it had been
    wanted sooner and found no room.
    """

    out: int | None
    freed: int
    back: int
    needed: int
    put_off: bool = False
    freed_early: bool = False


class Remake(NamedTuple):
    """A tensor is dropped at the end of stage `dropped`, and made again before the kernels of stage `again` by these
    operators, in order."""

    dropped: int
    again: int
    by: tuple[Key, ...]


Action = Leave | Remake


class OwnCopy(NamedTuple):
    """A saved tensor of a captured step is copied by itself, whatever else lies in its block: out when it is saved, in,
    to a block of its own, when backward first needs it.

    Its block is held for it up to the stage `freed`, in which the compute stream waits for the copy out: in a save's
    before that copies anything, its own behind its copy, in a need's at the end of the node of the graph that needs.
    Without `back` nothing is copied in: backward takes it where it lies, or never. One that is `gathered`, whose bytes
    are not in a row, is first put in a row on the device, in a block that lives as long as the call. For one that is
    `waited` for, the host stands until its copy out is done, and longer for an `unpinned` one, which goes through host
    memory that is not pinned.
    """

    freed: int
    back: bool = True
    gathered: bool = False
    waited: bool = False
    unpinned: bool = False


class Shared(NamedTuple):
    """One block for several tensors that do not live at the same time."""

    buffer: Buffer
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """What becomes of the tensors of one iteration.

    `before` are the tensors and shared blocks that are taken before the iteration, in order; `stays` those tensors of
    them that are never given back. `actions` are in the order of the pinned host buffers. With a `shared_workspace` all
    operators have one, taken before the iteration. `copies` says on which streams copies are,
    `compression` what they put on the wire where that is less than they move.

    `offload` are the layers whose X was to leave, in the words of whoever wrote it. `fences` are the kinds of layers
    over which no prefetch reaches: with them, prefetches follow the paper's window, and `deferred` are the layers
    whose backward prefetches nothing.

    `nvme` are the tensors that leave whose bytes go on from the host's memory to its NVMe, and come back from there.
    With `paging` what comes in does by page faults.

    With `host_optimiser` the host updates the parameters of a captured step, and has the optimiser's state: gradients
    go there, no more than so many bytes on their way at once, and parameters come back.

    `addresses` say where blocks lie, in the order in which they are taken; without them the pool says it.
    `own_copies`, in place of actions, are saved tensors of a captured step that are copied each by itself, by name. One
    that is `hooked` calls hooks though nothing leaves.
    """

    layout: Layout
    waits: Waits
    weight_gradients: WeightGradients
    before: tuple[str | Shared, ...]
    stays: frozenset[str]
    actions: Mapping[str, Action] = field(default_factory=dict)
    shared_workspace: bool = False
    offload: frozenset[str] = frozenset()
    fences: frozenset[str] | None = None
    deferred: frozenset[str] = frozenset()
    copies: CopyStreams = CopyStreams.EACH_WAY
    compression: Compression | None = None
    addresses: tuple[int, ...] = ()
    nvme: frozenset[str] = frozenset()
    paging: Paging | None = None
    host_optimiser: int | None = None
    own_copies: Mapping[str, OwnCopy] = field(default_factory=dict)
    hooked: bool = False

    @cached_property
    def key(self) -> object:
        """Equal for schedules that run the same."""
        how = self.waits, self.weight_gradients, self.copies, self.compression and self.compression.key
        what = frozenset(self.actions.items()), frozenset(self.own_copies.items()), self.nvme, self.paging
        where = self.before, self.stays, self.shared_workspace, self.addresses
        return *how, *what, *where, self.host_optimiser, self.hooked

    @cached_property
    def leaves(self) -> Mapping[str, Leave]:
        """The tensors that leave."""
        return {name: action for name, action in self.actions.items() if isinstance(action, Leave)}

    @property
    def makes_again(self) -> bool:
        """Whether kernels run again for some."""
        return len(self.leaves) < len(self.actions)
