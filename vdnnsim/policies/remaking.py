"""Tensors of networks that are dropped after forward and made again, with what they are made of."""

from __future__ import annotations

from collections.abc import Mapping

from vdnnsim.iteration import Iteration, Key, MemoryClass, Remake


def makers_of(iteration: Iteration, name: str) -> tuple[Key, ...]:
    """The forward operators that write it when they run once more; none where they cannot."""
    found = iteration.makers[name]
    if any(key not in iteration.again or name not in iteration.again[key].writes for key in found):
        return ()
    return found


def remakes_in_turn(iteration: Iteration, dropped: Mapping[str, int], needed: Mapping[str, int]) -> dict[str, Remake]:
    """How these are dropped in their stages and made again, each by when it is needed or something else is made of it,
    and once; what cannot be is kept."""
    remakes = _Remakes(iteration, dropped)
    for name in sorted(dropped, key=lambda name: (needed[name], iteration.order[name])):
        remakes.add(name, needed[name])
    order = iteration.order
    return dict(sorted(remakes.found.items(), key=lambda item: order[item[0]]))


def wanted_by(iteration: Iteration, remakes: Mapping[str, Remake]) -> dict[str, int]:
    """By when what is made again needs other tensors to be there: what it is made of, and what its kernels keep."""
    found: dict[str, int] = {}
    for remake in remakes.values():
        for key in remake.by:
            for name in (*iteration.again[key].reads, *iteration.by_key[key].writes):
                found[name] = min(remake.again, found.get(name, remake.again))
    return found


def last_in_forward(iteration: Iteration, name: str) -> int:
    """The last stage of forward that uses it; -1 where none does."""
    stages = (iteration.by_key[key].stage for key in iteration.users[name])
    return max((stage for stage in stages if not iteration.stages[stage].backward), default=-1)


def input_is_there(iteration: Iteration, name: str, stage: int) -> bool:
    """Whether weights, or data, that were there before the iteration still are: data that backward reads goes when that
    is done."""
    is_data = iteration.buffers[name].memory_class is MemoryClass.FEATURE_MAPS
    return not is_data or name not in iteration.first_read_in_backward or iteration.last_stage[name] >= stage


class _Remakes:
    """What is made again so far, and `kept`, what has to stay for that."""

    def __init__(self, iteration: Iteration, dropped: Mapping[str, int]) -> None:
        self.iteration = iteration
        self.dropped = dropped
        self.found: dict[str, Remake] = {}
        self.kept: set[str] = set()

    def add(self, name: str, again: int) -> None:
        """Have it made again in this stage, with what it is made of where that is gone; or keep it."""
        more: dict[str, Remake] = {}
        kept: set[str] = set()
        if name not in self.found and self._make(name, again, more, kept):
            self.found |= more
            self.kept |= kept

    def _make(self, name: str, again: int, more: dict[str, Remake], kept: set[str]) -> bool:
        """Whether it can be made again in this stage; then `more` says how, and `kept` what that relies on."""
        iteration = self.iteration
        makers = makers_of(iteration, name)
        last = max((iteration.by_key[key].stage for key in makers), default=0)
        gone = max(self.dropped.get(name, -1), last_in_forward(iteration, name))
        if not makers or name in iteration.inputs or name in self.kept | kept or not last <= gone < again:
            return False
        if iteration.first_read_in_backward.get(name, again) < again:
            return False
        more[name] = Remake(gone, again, makers)
        reads = {read for key in makers for read in iteration.again[key].reads} - {name}
        return all(self._is_there(read, again, more, kept) for read in sorted(reads, key=iteration.order.__getitem__))

    def _is_there(self, read: str, again: int, more: dict[str, Remake], kept: set[str]) -> bool:
        """Whether what something is made of is there in this stage, or can be made again, too."""
        iteration = self.iteration
        if read in more or read not in iteration.last_stage:
            return True
        still_used = iteration.last_stage[read] >= again
        if read in iteration.inputs:
            return input_is_there(iteration, read, again)
        if read in self.found:
            return self.found[read].again >= again or still_used  # else it was there for a moment
        if self.dropped.get(read, -1) >= again:
            return True  # it goes later
        if not still_used or (read in self.dropped and read not in self.kept):
            parents, relied = dict(more), set(kept)
            if self._make(read, again, parents, relied):
                more |= parents
                kept |= relied
                return True
        if still_used:
            kept.add(read)
        return still_used
