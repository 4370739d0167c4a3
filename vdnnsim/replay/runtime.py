"""A logged program run in a memory that is too small: what is short goes by a heuristic, and is made again at need.

Rules as in simrd, runtime v2 with eager eviction (uwsampl/dtr-prototype at eff53cc4, `runtime/v2.py`): a storage whose
last tensor is dropped goes at once; one that an operator is about to read is locked; to make a tensor again everything
that its operator reads is made first, and all that the operator makes comes to be there, twice for a moment what was
there already. What the program holds in the end is there in the end. The clock is the sum of the operators' times.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from vdnnsim.errors import VdnnsimError, check_known
from vdnnsim.memory import ENDLESS_BYTES
from vdnnsim.replay.heuristics import HEURISTICS, Heuristic, victim
from vdnnsim.replay.log import Does, LoggedProgram
from vdnnsim.replay.memory import BYTES, Memory, make_memory
from vdnnsim.replay.tensors import Made, Storage, Tensor


class Outcome(StrEnum):
    """How a replay ended."""

    DONE = "done"
    OVER_LIMIT = "over the limit"
    NO_ROOM = "no room"


class Replayed(NamedTuple):
    """A replay: the time of all operators, that of those which made something again (a part of it), the most memory
    needed, how many storages went for lack of room. Of one that was not done, until then."""

    outcome: Outcome
    operators_ns: int
    again_ns: int
    peak_bytes: int
    evictions: int

    def overhead(self, log: LoggedProgram) -> float:
        """Its time over that of the program in endless memory."""
        return self.operators_ns / max(log.operators_ns, 1)


def replay(
    log: LoggedProgram,
    heuristic: str = "dtr",
    capacity_bytes: int = ENDLESS_BYTES,
    memory: str = BYTES,
    limit: float | None = None,
) -> Replayed:
    """Run the program once. `memory` is "bytes", or a pool with addresses by its name; past `limit` times the program's
    own time it is given up. Raises `UnknownName`."""
    check_known("heuristic", heuristic, HEURISTICS)
    most_ns = None if limit is None else int(log.operators_ns * (limit - 1))
    run = Run(make_memory(memory, capacity_bytes), HEURISTICS[heuristic](), most_ns)
    outcome = Outcome.DONE
    try:
        run.through(log)
    except ReplayEnded as end:
        outcome = end.args[0]
    return Replayed(outcome, run.clock_ns - _BEGIN_NS, run.again_ns, run.memory.peak_bytes, run.evictions)


_BEGIN_NS = 1


class ReplayEnded(VdnnsimError):  # noqa: N818 - reads as what it is
    """The replay cannot go on."""


class Run:
    """One replay under way."""

    def __init__(self, memory: Memory, heuristic: Heuristic, most_ns: int | None) -> None:
        self.memory, self.heuristic, self.most_ns = memory, heuristic, most_ns
        self.clock_ns, self.again_ns, self.evictions = _BEGIN_NS, 0, 0
        self.evictable: dict[Storage, None] = {}
        """What is there and not locked, in the order in which it came to be so."""

    def through(self, log: LoggedProgram) -> None:
        """Run it all. Raises `ReplayEnded`."""
        tensors: list[Tensor] = []
        for does, number in log.deeds:
            if does is Does.RUN:
                self._run(Made(log.operators[number], tensors, self.heuristic.around))
                continue
            tensor = tensors[number]
            storage = tensor.storage
            if does is Does.HOLD:
                storage.held += 1
            elif does is Does.DROP:
                storage.held -= 1
                if not storage.held and storage.there and not storage.pinned:
                    self._evict(storage)
            else:
                if not tensor.defined:
                    self._make(tensor, again=True)
                if not storage.pinned:
                    self._lock(storage)
                    storage.pinned = True

    def _run(self, made: Made) -> None:
        self.heuristic.begun(made.new)
        self._make(made.tensors[0], again=False)
        for tensor in made.tensors:
            tensor.storage.used_ns = self.clock_ns

    def _make(self, wanted: Tensor, again: bool) -> None:
        """Make a tensor, and before that what it needs and is gone, however long the chain."""
        stack = [(wanted, self._reads_gone(wanted))]
        while stack:
            tensor, gone = stack[-1]
            parent = next((one for one in gone if not self._locked(one)), None)
            if parent is not None:
                stack.append((parent, self._reads_gone(parent)))
                continue
            stack.pop()
            self._compute(tensor, again or bool(stack))
            if stack:
                self._lock(tensor.storage)

    def _reads_gone(self, tensor: Tensor) -> Iterator[Tensor]:
        """Locks what its operator reads and is there; the rest, to be made."""
        reads = tensor.made.reads
        for read in reads:
            read.storage.used_ns = self.clock_ns
        gone = []
        for read in reads:
            if read.defined:
                self._lock(read.storage)
            else:
                gone.append(read)
        return iter(gone)

    def _locked(self, tensor: Tensor) -> bool:
        """Lock one that was made meanwhile, beside another; False where it is still gone."""
        if tensor.defined:
            self._lock(tensor.storage)
        return tensor.defined

    def _compute(self, tensor: Tensor, again: bool) -> None:
        made = tensor.made
        while (pieces := self.memory.take(made.sizes_bytes)) is None:
            self._evict_one()
        self.clock_ns += made.duration_ns
        come: list[Storage] = []
        mine: Storage | None = None
        for one, piece in zip(made.tensors, pieces, strict=True):
            storage = one.storage
            if one.defined:
                self.memory.give(piece)
                continue
            one.defined = True
            if not storage.there:
                storage.piece = piece
                storage.come()
                if one is tensor:
                    mine = storage
                else:
                    come.append(storage)
        if mine is not None:
            come.append(mine)
        for storage in come:
            self.evictable[storage] = None
        self.heuristic.made(come)
        for read in made.reads:
            self._unlock(read.storage)
        if again:
            self.again_ns += made.duration_ns
            if self.most_ns is not None and self.again_ns > self.most_ns:
                raise ReplayEnded(Outcome.OVER_LIMIT)

    def _evict_one(self) -> None:
        if not self.evictable:
            raise ReplayEnded(Outcome.NO_ROOM)
        pool = list(self.evictable)
        self.evictions += 1
        self._evict(pool[victim(self.heuristic.scores(pool, self.clock_ns))])

    def _evict(self, storage: Storage) -> None:
        storage.leave()
        self.memory.give(storage.piece)
        self.evictable.pop(storage, None)
        for tensor in storage.tensors:
            tensor.defined = False
        self.heuristic.evicted(storage)

    def _lock(self, storage: Storage) -> None:
        if not storage.locks:
            del self.evictable[storage]
        storage.locks += 1

    def _unlock(self, storage: Storage) -> None:
        storage.locks -= 1
        if not storage.locks:
            self.evictable[storage] = None
