"""Whether a step is still the one that a plan is of, and where on it: without PyTorch, and the same for every device.

Hook calls are numbered as the stages of a captured step: the n-th one begins stage n. A `Script` says once for all what
is done at each (`captured.agenda_of`); a `Course` follows one step as it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vdnnsim.captured import agenda_of
from vdnnsim.iteration import Leave


class Script:
    """What a plan says, as tables by hook call and by saved tensor. `saved` are the numbers of the saved tensors of
    each block that leaves; `runs` the hook calls of a step: so many saves, then so many needs, and so on by turns."""

    def __init__(self, leaves: Mapping[int, Leave], saved: Mapping[int, Iterable[int]], runs: Iterable[int]) -> None:
        self.agenda = agenda_of(leaves)
        self.block_of = {number: block for block, numbers in saved.items() for number in numbers}
        """The block of each saved tensor that leaves with one."""
        self.needed_at = {leave.needed: block for block, leave in leaves.items()}
        self.is_save = (False, *(turn % 2 == 0 for turn, length in enumerate(runs) for _ in range(length)))
        """Of each hook call, of which the first has the number 1."""
        self.calls = len(self.is_save) - 1
        self.first = min(self.block_of, default=0)
        """The first saved tensor that leaves."""
        self.begins: frozenset[int] | None = None
        """After how many hook calls the model's forward begins, once a step has shown it."""


class Course:
    """One step on its way through a script.

    What differs from the plan makes it `lost`: nothing more leaves then, and what has left is fetched when it is
    needed. That a tensor is another one than the plan's is for the caller to see, who sets `lost`.
    """

    __slots__ = ("asked", "begins", "call", "lost", "saves", "script", "swept")

    def __init__(self, script: Script) -> None:
        self.script = script
        self.call = 0
        """How many hook calls there were."""
        self.saves = 0
        self.lost = False
        self.begins: list[int] = []
        self.asked = False
        """Whether the end of the backward under way will be told."""
        self.swept = False
        """Whether a backward has ended since it was lost."""

    @property
    def complete(self) -> bool:
        """Whether the step went as planned to its end."""
        return self.call >= self.script.calls and not self.lost

    def save(self) -> int | None:
        """A tensor is saved. Returns the block that it leaves with, if it does."""
        number = self.saves
        self.saves = number + 1
        self.call += 1
        if self.lost or self.call > self.script.calls or not self.script.is_save[self.call]:
            self.lost = True
            return None
        return self.script.block_of.get(number)

    def need(self, block: int | None) -> None:
        """A tensor is needed; `block` is given at the first need of one that left."""
        self.call += 1
        script = self.script
        if self.call > script.calls or script.is_save[self.call] or script.needed_at.get(self.call) != block:
            self.lost = True

    def end_backward(self) -> None:
        """A backward of a lost step is through."""
        self.swept = True

    def over(self, forgotten: bool, model_begins: bool) -> bool:
        """Whether a save that comes now is the first one of another step. `forgotten` says that nothing saved in this
        one is alive: its backward is through, or its results were thrown away; `model_begins` that the model's forward
        has begun since the last save."""
        if self.call == 0:
            return False
        script = self.script
        if self.lost:
            return forgotten or model_begins or self.swept
        if self.call >= script.calls:
            return True
        if not script.is_save[self.call + 1]:
            return forgotten or model_begins
        if not script.is_save[self.call]:
            return False  # between two backwards of one step
        # Amid a forward; before anything left, what was saved so far may have been for nothing in the plan's step too.
        elsewhere = model_begins and script.begins is not None and self.call not in script.begins
        return elsewhere or (forgotten and self.saves > script.first)

    def begin_model(self) -> None:
        """The model's forward has begun before the save that comes now."""
        self.begins.append(self.call)

    def end(self) -> None:
        """The step is over: if it was the plan's to its end, the script knows now where the model's forward begins."""
        if self.complete:
            self.script.begins = frozenset(self.begins)
