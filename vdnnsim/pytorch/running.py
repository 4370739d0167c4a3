"""The two hooks that carry a plan out, step after step, in the user's own loop.

Every hook call advances the step's `Course`; what is due at it is done by the `Engine`. Nothing here waits on the host,
asks whether something is done, or decides by time: blocks go back at the plan's places of the host's order. Whatever
does not go by the plan stays on the device, and what had left is fetched when it is needed, so that gradients are right
then too.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from vdnnsim.captured import HookDeeds
from vdnnsim.errors import InvalidInput
from vdnnsim.pytorch.counting import Counts, OffloadReport
from vdnnsim.pytorch.course import Course, Script
from vdnnsim.pytorch.engine import Engine
from vdnnsim.pytorch.saved import Alive, Block, Geometry, Kept, Left, geometry_of, poison, poison_if_ours
from vdnnsim.pytorch.unseen import Unseen

OTHER_STEP = "of a step that is not the plan's"
IN_USE = "of a block whose host memory an earlier step's backward may still ask for"
ELSEWHERE = "in other memory than the plan has (such as a batch that is a slice of all data)"
_WHY = (
    "it is another batch or mode, or something inside the step (checkpoint, other hooks, torch.compile, a thread, a "
    "stream) changes what is saved where"
)


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) is torch.Tensor and tensor.layout is torch.strided and not tensor.is_conj() and not tensor.is_neg()
    )


@dataclass(frozen=True)
class Part:
    """What is to be known of a block that leaves: its bytes, the geometry of its saved tensors by their numbers, and
    how often a step needs one of them."""

    size_bytes: int
    saved: Mapping[int, Geometry]
    needs: int


class Running:
    """Offloading under way: what `offload` gives its block. With `checked`, memory that is let go of, and memory that
    waits for its copy in, is overwritten so that every float in it is NaN."""

    def __init__(self, script: Script, parts: Mapping[int, Part], engine: Engine, checked: bool = False) -> None:
        self._script = script
        self._parts = parts
        self._geometry = {number: one for part in parts.values() for number, one in part.saved.items()}
        self._engine = engine
        self._checked = checked
        self._nothing = torch.empty(0, device=engine.device)
        self._counts = Counts()
        self._course = Course(script)
        self._alive = weakref.ref(Alive())
        self._blocks: dict[int, Block] = {}
        """Those of this step."""
        self._last: dict[int, weakref.ref[Block]] = {}
        """Whose bytes each block's host memory holds."""
        self._model_begins = False
        self.unseen = Unseen(self._counts)
        self._closed = False

    def begin_model(self, *_: object) -> None:
        """The model's forward begins: a hook of the model's."""
        self._model_begins = True
        self.unseen.begin()

    def report(self) -> OffloadReport:
        """What was done so far."""
        return self._counts.report(self._course, sum(part.size_bytes for part in self._parts.values()))

    def close(self) -> None:
        """End what is under way and give everything back."""
        try:
            self._end_step()
            self._engine.drain()
        finally:
            self._closed = True
            self._engine.close()

    # The hooks

    def pack(self, tensor: torch.Tensor) -> Kept | Left:
        """A tensor is saved for backward."""
        course = self._course
        alive = self._alive()
        if alive is None or self._model_begins or course.lost or course.call >= self._script.calls:
            if course.over(alive is None, self._model_begins):
                self._end_step()
                course = self._course
                alive = None
            if self._model_begins:
                self._model_begins = False
                self.unseen.saw()
                course.begin_model()
            if alive is None:
                alive = Alive()
                self._alive = weakref.ref(alive)
        was_lost = course.lost
        number = course.save()
        if course.lost:
            return self._stray(tensor, alive, "" if was_lost else "one more than the plan has here")
        deeds = self._script.agenda.get(course.call)
        if number is None and deeds is None:
            return Kept(tensor, alive)
        if self._engine.here() != self._engine.home:
            return self._stray(tensor, alive, "on another stream than the one on which offloading began")
        if number is None:
            kept: Kept | Left = Kept(tensor, alive)
        else:
            storage = tensor.untyped_storage() if _is_plain(tensor) else None
            if storage is None or (reason := self._why_not(number, tensor, storage)):
                other = f"a {type(tensor).__name__} that is not a plain dense tensor"
                return self._stray(tensor, alive, other if storage is None else reason)
            kept = self._leave(number, tensor, storage, alive)
        if deeds is not None:
            self._do(deeds)
        return kept

    def unpack(self, kept: Kept | Left) -> torch.Tensor:
        """Backward needs a tensor. Raises `ChangedInPlace`."""
        kept.check()
        course = self._course
        if kept.alive is self._alive() and not self._closed:
            if not course.lost and course.call < self._script.calls:
                self._need(kept)
            if course.lost and not course.asked:
                self._ask_for_end(course)
        if isinstance(kept, Kept):
            return kept.tensor
        return kept.geometry.of(self._bytes_of(kept.block))

    # Saving

    def _why_not(self, number: int, tensor: torch.Tensor, storage: torch.UntypedStorage) -> str:
        """What is otherwise than the plan has it of a tensor that is to leave with block `number`; "" where nothing
        is."""
        part, block = self._parts[number], self._blocks.get(number)
        found, expected = geometry_of(tensor), self._geometry[self._course.saves - 1]
        elsewhere = found.offset != expected.offset or storage.nbytes() != part.size_bytes
        if found[:3] != expected[:3] or (elsewhere and block is not None):
            return f"{found}, {storage.nbytes()} bytes, where the plan has {expected}, {part.size_bytes} bytes"
        if tensor.device != self._engine.device:
            return f"on {tensor.device}, where the plan has {self._engine.device}"
        if block is not None and (block.address != storage.data_ptr() or block.storage.expired()):
            return "in another block than the plan has"
        if block is not None and block.changed:
            return "in a block that was changed in place after its copy out"
        return ""

    def _leave(self, number: int, tensor: torch.Tensor, storage: torch.UntypedStorage, alive: Alive) -> Kept | Left:
        block = self._blocks.get(number)
        if block is None:
            part = self._parts[number]
            last = self._last.get(number)
            expected = self._geometry[self._course.saves - 1].offset, part.size_bytes
            reason = ELSEWHERE if (tensor.storage_offset(), storage.nbytes()) != expected else ""
            if reason or self._course.saves - 1 != min(part.saved) or (last is not None and last() is not None):
                self._counts.stayed[reason or IN_USE] += 1
                self._counts.tell(reason or IN_USE, f"found a tensor {reason or IN_USE}: it stays on the device")
                return Kept(tensor, alive)
            block = self._blocks[number] = Block(number, tensor, storage, part.needs)
            self._last[number] = weakref.ref(block)
        return Left(tensor, self._geometry[self._course.saves - 1], block, alive, self._nothing)

    def _stray(self, tensor: torch.Tensor, alive: Alive, found: str) -> Kept:
        """A tensor of a step that is not the plan's; `found` where it is the first."""
        if found:
            self._lose(f"saved tensor {self._course.saves}: found {found}")
        self._counts.stayed[OTHER_STEP] += 1
        return Kept(tensor, alive)

    def _lose(self, found: str) -> None:
        """From here on the step is not the plan's."""
        self._counts.tell(OTHER_STEP, f"{found}; {_WHY}: what this step saves from here on stays on the device")
        self._course.lost = True
        self._settle()
        self._blocks = {}

    def _end_step(self) -> None:
        self._course.end()
        self._counts.count(self._course)
        self._course = Course(self._script)
        self._settle()
        self._blocks = {}

    def _settle(self) -> None:
        """No block may go while a copy in to it is under way."""
        for block in self._blocks.values():
            if block.fetched is not None and not block.awaited:
                self._await(block, self._engine.home)

    # Backward

    def _need(self, kept: Kept | Left) -> None:
        course = self._course
        first = kept.block.number if isinstance(kept, Left) and not kept.block.needed else None
        planned = self._script.needed_at.get(course.call + 1)
        if planned is not None and planned not in self._blocks:
            first = planned  # it stayed
        course.need(first)
        if course.lost:
            self._lose(f"hook call {course.call}: found a tensor needed in another order than the plan has")
        elif (deeds := self._script.agenda.get(course.call)) is not None:
            if self._engine.here() != self._engine.home:
                self._lose(f"hook call {course.call}: found another stream than the one on which offloading began")
            else:
                self._do(deeds)

    def _ask_for_end(self, course: Course) -> None:
        """Have autograd say when this backward is through."""
        course.asked = True
        try:
            torch.autograd.Variable._execution_engine.queue_callback(course.end_backward)
        except RuntimeError:
            course.asked = False  # somebody looks at a saved tensor, and no backward is under way

    def _bytes_of(self, block: Block) -> torch.Tensor:
        """A tensor in memory that holds the block's bytes, as the current stream sees it."""
        block.needed = True
        block.needs -= 1
        if block.held is not None:
            return block.held
        here = self._engine.here()
        if block.fetched is None:
            if self._closed:
                raise InvalidInput(
                    "backward: found that the block of 'with offload' has ended, expected it before: what this step "
                    "saved lay in host memory that was given back"
                )
            self._fetch(block, here)
            self._counts.late += 1
        fetched = block.fetched
        assert fetched is not None
        if not block.awaited:
            self._await(block, here)
        if block.needs <= 0:  # let go of here, where the host is ahead, and not at the begin of the next step
            block.fetched = None
            if self._blocks.get(block.number) is block:
                del self._blocks[block.number]
        return fetched

    # What is due

    def _do(self, deeds: HookDeeds) -> None:
        """Carry out what is due at this hook call, in the order in which a program has it."""
        engine, blocks = self._engine, self._blocks
        home = engine.home
        for number in deeds.fetched:
            if number in blocks:
                self._fetch(blocks[number], home)
        for number in deeds.awaited:
            if number in blocks:
                self._await(blocks[number], home)
        for number in deeds.out:
            if number in blocks:
                engine.copy_out(number, blocks[number].address, home)
                self._counts.copies_out += 1
                self._counts.bytes_out += self._parts[number].size_bytes
        for number in deeds.dropped:
            if number in blocks:
                self._drop(blocks[number])
        for number in deeds.back:
            if number in blocks:
                self._fetch(blocks[number], home)

    def _drop(self, block: Block) -> None:
        self._engine.let_go(block.number, self._engine.home)
        held, block.held = block.held, None
        if self._checked and held is not None:
            poison_if_ours(held)

    def _fetch(self, block: Block, stream: int) -> None:
        size_bytes = self._parts[block.number].size_bytes
        fetched = torch.empty(size_bytes, dtype=torch.uint8, device=self._engine.device)
        if self._checked:
            poison(fetched)
        self._engine.copy_in(block.number, fetched.data_ptr(), stream)
        block.fetched = fetched
        block.awaited = False
        self._counts.copies_in += 1
        self._counts.bytes_in += size_bytes

    def _await(self, block: Block, stream: int) -> None:
        self._engine.let_use(block.number, stream)
        block.awaited = True
