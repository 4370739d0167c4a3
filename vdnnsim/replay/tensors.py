"""Tensors of a replay and the storages that they are views of, as they are linked by the operators run so far."""

from __future__ import annotations

from vdnnsim.replay.log import NO_ALIAS, LoggedOperator

ABOVE, BELOW = 0, 1
"""Towards what something is made of, and towards what is made of it."""
WAYS = (ABOVE, BELOW)


class Storage:
    """Bytes that one or several tensors are views of.

    `cost_ns` is the time of all operators that made one of these, `used_ns` when one of them was last used. Above and
    below it, by an operator that makes a tensor of the one of a tensor of the other, are `near`, those that are there,
    and `gone`, those that are not.
    """

    __slots__ = ("cost_ns", "gone", "held", "locks", "near", "notes", "piece", "pinned", "size_bytes", "tensors",
                 "there", "used_ns")  # fmt: skip

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.cost_ns = 0
        self.tensors: list[Tensor] = []
        self.there = False
        self.locks = 0
        """By how many operators that are about to run it is read; a pinned one once more, for good."""
        self.pinned = False
        self.held = 0
        """How often the program holds a tensor of it."""
        self.used_ns = 0
        self.piece = 0
        """What the memory gave for it."""
        self.near: tuple[set[Storage], set[Storage]] = (set(), set())
        self.gone: tuple[set[Storage], set[Storage]] = (set(), set())
        self.notes: object = None
        """What a heuristic keeps of it."""

    def link(self, below: Storage) -> None:
        """Something of `below` is made of something of this."""
        (self.near if below.there else self.gone)[BELOW].add(below)
        (below.near if self.there else below.gone)[ABOVE].add(self)

    def come(self) -> None:
        """It is there now."""
        self.there = True
        for way in WAYS:
            for one in (*self.near[way], *self.gone[way]):
                one.gone[1 - way].discard(self)
                one.near[1 - way].add(self)

    def leave(self) -> None:
        """It is not there any more."""
        self.there = False
        for way in WAYS:
            for one in (*self.near[way], *self.gone[way]):
                one.near[1 - way].discard(self)
                one.gone[1 - way].add(self)


class Tensor:
    """One output of an operator; `defined` while it needs not be made again."""

    __slots__ = ("defined", "made", "storage")

    def __init__(self, storage: Storage, made: Made) -> None:
        self.storage = storage
        self.made = made
        self.defined = False


class Made:
    """An operator that was run: what it read, and what it makes each time that it is run."""

    __slots__ = ("duration_ns", "new", "reads", "sizes_bytes", "tensors")

    def __init__(self, operator: LoggedOperator, tensors: list[Tensor], linked: bool) -> None:
        """Its tensors, which are not there yet, become the last of `tensors`; `new` are those storages that it makes
        first. Where nobody asks what is made of what, it needs not be `linked`."""
        self.duration_ns = operator.duration_ns
        self.sizes_bytes = operator.sizes_bytes
        self.reads = [tensors[number] for number in operator.reads]
        self.tensors: list[Tensor] = []
        self.new: list[Storage] = []
        for size_bytes, alias in zip(operator.sizes_bytes, operator.aliases, strict=True):
            if alias == NO_ALIAS:
                storage = Storage(size_bytes)
                self.new.append(storage)
            else:
                storage = self.reads[alias].storage
            tensor = Tensor(storage, self)
            self.tensors.append(tensor)
            if not any(other.made is self for other in storage.tensors):
                storage.cost_ns += self.duration_ns
            storage.tensors.append(tensor)
            storage.held += 1
            for read in self.reads if linked else ():
                if read.storage is not storage:
                    read.storage.link(storage)
        tensors += self.tensors
