"""A captured training step: what the host did, in order, with every kernel and every block of device memory.

One order serves all ways of running the step. What is *done* (blocks taken, kernels launched, tensors saved for
backward and needed again) comes in the same order whether anything offloads or not; when blocks *die* depends on who
holds them, and so each block says behind which deed it dies under each circumstance. All numbers are of one GPU and one
version of PyTorch. Sizes are bytes as asked for, before the allocator rounds them; times are integer nanoseconds.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

_WIDTH = re.compile(r"\d+")
BEFORE_STEP = -1
"""Stands for a deed of the block that is there when the step begins."""


class Phase(StrEnum):
    """The part of the step in which something is done."""

    FORWARD = "forward"
    BACKWARD = "backward"
    OPTIMISER = "optimiser"


class Doing(StrEnum):
    """What the host does; `Deed.number` counts among the things of its kind."""

    TAKE = "take"
    """Takes the block of `blocks[number]` from the allocator."""
    LAUNCH = "launch"
    """Launches `kernels[number]`; they run on one stream in this order."""
    SAVE = "save"
    """Autograd saves `saved[number]`: the pack hook is called, where there is one."""
    NEED = "need"
    """Backward asks for `saved[number]`: the unpack hook is called, where there is one."""


class Deed(NamedTuple):
    """One thing that the host does."""

    doing: Doing
    number: int


class BlockClass(StrEnum):
    """What a block holds."""

    __hash__ = str.__hash__  # an Enum's own is a call of Python's

    PARAMETER = "parameter"
    """Parameters and buffers of modules."""
    GRADIENT = "gradient"
    OPTIMISER_STATE = "optimiser state"
    INPUT = "input"
    """Data that the step is given."""
    SAVED = "saved"
    """What autograd saves for backward and none of the above."""
    WORKSPACE = "workspace"
    """Taken by a library for one kernel."""
    OTHER = "other"


class ModelOperator(NamedTuple):
    """An operator of the framework, the outermost one that PyTorch's profiler shows ("aten::addmm", in backward the
    node of the graph, "AddmmBackward0"), in the module whose forward called it ("" outside of modules; in backward the
    module of the forward operator that made the node, where known)."""

    name: str
    module: str
    phase: Phase


class ModelKernel(NamedTuple):
    """One piece of work on the compute stream, of `operators[operator]`.

    `kind` is the class that its slowdown beside copies goes by. `duration_ns` is the median over the light steps, its
    range of the middle half over that `spread_ppm` in millionths. `launch_ns` is the host's time from the end of the
    launch before (of the first: from the step's begin) to the end of this launch, in a step without profiler and hooks.
    `gap_ns` is how long after the kernel before it begins where it was launched in time.
    """

    name: str
    kind: str
    operator: int
    duration_ns: int
    spread_ppm: int
    launch_ns: int
    gap_ns: int


class Block(NamedTuple):
    """A block of device memory: one storage, or what a library took.

    `taken` is the deed that takes it, `BEFORE_STEP` where it is there before, at `address` then (that of the
    allocator's snapshot; for others the one seen in the capture). The other fields are numbers of deeds: it dies behind
    that deed, and before the next; None is not within the step.

    * `given`: in a step without hooks.
    * `given_hooked`: with hooks that keep everything that is saved.
    * `released`: if autograd did not hold it, in forward (ghost forward); None if others hold it beyond forward.
    * `fetched_given`: a block fetched in its place dies, with hooks that offload everything; None where none is.

    `operator` is the one that takes it, None before the step. `held_bytes`, of one that is there before, is what the
    allocator holds for it (the snapshot's size, which a rest too small to be cut off belongs to); 0 where not known.
    """

    size_bytes: int
    holds: BlockClass
    taken: int
    given: int | None
    given_hooked: int | None
    released: int | None = None
    fetched_given: int | None = None
    operator: int | None = None
    address: int = 0
    held_bytes: int = 0


class SavedTensor(NamedTuple):
    """A tensor that autograd saves: one call of the pack hook. Several may be views of one block.

    `node` and `attribute` say by whom ("AddmmBackward0", "mat1"), `module` in whose forward. `stays` says why it never
    leaves ("parameter", "buffer", "small", "weight copy", ...), "" where it may. Backward may need it several times or
    never; `order` has each time.
    """

    block: int
    node: str
    attribute: str
    module: str
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset_bytes: int
    stays: str = ""

    @property
    def size_bytes(self) -> int:
        """What a copy of it moves: its elements, each as wide as the type's name says."""
        width = _WIDTH.search(self.dtype)
        return prod(self.shape) * (max(1, int(width[0]) // 8) if width else 1)

    @property
    def in_a_row(self) -> bool:
        """Whether its elements lie one behind the other in the order of its dimensions."""
        return self.stride == _strides_in_a_row(self.shape, self.stride, range(len(self.shape)))

    @property
    def without_gaps(self) -> bool:
        """Whether they do in some order of its dimensions."""
        order = sorted(range(len(self.shape)), key=lambda place: (-self.stride[place], -self.shape[place]))
        return self.stride == _strides_in_a_row(self.shape, self.stride, order)

    @property
    def in_order(self) -> bool:
        """Whether the order of its dimensions is that of its elements, with gaps or without."""
        strides = [its for its, elements in zip(self.stride, self.shape, strict=True) if elements != 1]
        return strides == sorted(strides, reverse=True)


def _strides_in_a_row(shape: Sequence[int], stride: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    """The strides without gaps in this order of dimensions, the outermost first; of one element as they are."""
    found = list(stride)
    elements = 1
    for place in reversed(order):
        if shape[place] != 1:
            found[place] = elements
        elements *= shape[place]
    return tuple(found)


class AllocatorSegment(NamedTuple):
    """A segment that PyTorch's allocator has when the step begins, after its cache was emptied."""

    address: int
    size_bytes: int
    small: bool


class Seen(NamedTuple):
    """What was measured of whole steps without hooks: host-synchronised times of unprofiled steps in nanoseconds (the
    median, and the range of the middle half over it in millionths), and the peaks that the allocator's own counters
    gave, in bytes."""

    step_ns: int
    spread_ppm: int
    peak_requested_bytes: int
    peak_allocated_bytes: int
    peak_reserved_bytes: int


class HookCosts(NamedTuple):
    """What hooks cost the host in nanoseconds: a call that does nothing, and besides a copy out given in it, a copy in
    given in it, and letting a stream wait."""

    call_ns: int
    copy_out_ns: int
    copy_in_ns: int
    stream_wait_ns: int


class UnpinnedCopy(NamedTuple):
    """A saved tensor whose bytes are not in a row, copied by torch's own `copy_` to host memory that keeps its order:
    how much longer the host stands for it than for as many bytes in a row, as torch takes it through memory that is not
    pinned, and turns it there. The median, and its range of the middle half over that in millionths."""

    size_bytes: int
    longer_ns: int
    spread_ppm: int


class WaitCosts(NamedTuple):
    """What waiting for the device costs the host in this step, in nanoseconds.

    `begin_ns` is how much later than launches and hooks say the first copy out is given in a step behind a long wait;
    `end_ns` how much later than it is so the host knows that the device is through. `copy_ns` is what a copy out costs
    for which the host stands, by torch's own `copy_`, beyond the copy itself; `unpinned` are some for which it stands
    longer, by ascending size.
    """

    begin_ns: int
    end_ns: int
    copy_ns: int
    unpinned: tuple[UnpinnedCopy, ...] = ()

    def longer_ns(self, size_bytes: int) -> int:
        """How much longer the host stands for a copy of so many bytes that are not in a row: in proportion to the
        measured one of the next size, or the largest; 0 where none was measured."""
        if not self.unpinned:
            return 0
        near = next((one for one in self.unpinned if one.size_bytes >= size_bytes), self.unpinned[-1])
        return round(near.longer_ns * size_bytes / near.size_bytes)


@dataclass(frozen=True)
class StepHeader:
    """What was captured, where and how. `setting` are the arguments of the user's `make` ("batch" among them, where it
    has one), `conditions` versions, driver, clocks, date, repetitions in words. `model_sha256` is a digest of the
    names, shapes and types of parameters and buffers, `order_sha256` one of the tensors that are saved, in order: a
    plan is of a step where both are equal."""

    name: str
    gpu: str
    device: str
    setting: Mapping[str, int | float | str]
    torch: str
    model_sha256: str
    order_sha256: str
    conditions: Mapping[str, str] = field(default_factory=dict)


class HookStages(NamedTuple):
    """The stages of a step: those of SAVE and those of NEED, ascending; and for each block that holds saved tensors the
    stages in which any of these is saved, and those in which any is needed."""

    save: tuple[int, ...]
    need: tuple[int, ...]
    saves: Mapping[int, tuple[int, ...]]
    needs: Mapping[int, tuple[int, ...]]

    def leaves(self, block: int) -> int:
        """The stage in which a block leaves: its last SAVE. Not at the first, since others may be of parts that were
        written in between: a recurrent layer's gates are parts of one block, each worked out in place in its turn."""
        return self.saves[block][-1]

    def last_save_before(self, stage: int) -> int:
        """The last stage before this one that a SAVE begins; 0 where there is none."""
        place = bisect_left(self.save, stage)
        return self.save[place - 1] if place else 0

    def first_need_after(self, stage: int) -> int | None:
        """The first stage behind this one that a NEED begins."""
        place = bisect_right(self.need, stage)
        return self.need[place] if place < len(self.need) else None


@dataclass(frozen=True)
class CapturedStep:
    """One training step; `deeds` in the host's order. `waits` is None where a capture did not measure that. `made` is
    what others made of it, once each."""

    header: StepHeader
    seen: Seen
    hooks: HookCosts
    operators: tuple[ModelOperator, ...]
    kernels: tuple[ModelKernel, ...]
    blocks: tuple[Block, ...]
    saved: tuple[SavedTensor, ...]
    deeds: tuple[Deed, ...]
    segments: tuple[AllocatorSegment, ...] = ()
    waits: WaitCosts | None = None
    made: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def save(self, folder: str | Path) -> None:
        """Write it as a folder of tables that `read_step` and every command take. Raises `CannotWrite`."""
        from vdnnsim.captured.files import write_step  # which knows this module

        write_step(self, Path(folder))

    def on_gpu(self, gpu: str) -> CapturedStep:
        """The same, to be simulated with the profile of this name."""
        return replace(self, header=replace(self.header, gpu=gpu))

    def __getstate__(self) -> dict[str, object]:
        """Without what was made of it, which is large and quickly made again."""
        return {**{part.name: getattr(self, part.name) for part in fields(self)}, "made": {}}

    def __repr__(self) -> str:
        return (
            f"<CapturedStep {self.header.name} on {self.header.gpu}: {len(self.kernels)} kernels, {len(self.blocks)} "
            f"blocks, {len(self.saved)} saved tensors>"
        )

    @cached_property
    def hook_calls(self) -> tuple[int, ...]:
        """The deeds at which a hook is called, in order: where a runtime can act. Stage 0 of the step is what comes
        before the first of them, stage n begins with the n-th; a schedule's numbers are these stages."""
        return tuple(n for n, deed in enumerate(self.deeds) if deed.doing in (Doing.SAVE, Doing.NEED))

    @cached_property
    def stages(self) -> HookStages:
        """The stages by what begins them, and by block."""
        begun: dict[Doing, list[int]] = {Doing.SAVE: [], Doing.NEED: []}
        by_block: dict[Doing, dict[int, list[int]]] = {Doing.SAVE: {}, Doing.NEED: {}}
        for stage, call in enumerate(self.hook_calls, start=1):
            doing, number = self.deeds[call]
            begun[doing].append(stage)
            by_block[doing].setdefault(self.saved[number].block, []).append(stage)
        saves, needs = (
            {block: tuple(stages) for block, stages in by_block[doing].items()} for doing in (Doing.SAVE, Doing.NEED)
        )
        return HookStages(tuple(begun[Doing.SAVE]), tuple(begun[Doing.NEED]), saves, needs)
