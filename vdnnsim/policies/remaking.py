"""Tensors of networks that are dropped after forward and made again, with what they are made of."""

from __future__ import annotations

from collections.abc import Mapping

from vdnnsim.iteration import Iteration, Key, Remake


def makers_of(iteration: Iteration, name: str) -> tuple[Key, ...]:
    """The forward operators that write it when they run once more; none where they cannot."""
    found = iteration.makers[name]
    if any(key not in iteration.again or name not in iteration.again[key].writes for key in found):
        return ()
    return found


def remakes_in_turn(iteration: Iteration, dropped: Mapping[str, int], needed: Mapping[str, int]) -> dict[str, Remake]:
    """How these are dropped in their stages and made again, each by when it is needed or something else is made of it,
    and once; what cannot be is kept."""
    found: dict[str, Remake] = {}
    for name in sorted(dropped, key=lambda name: (needed[name], iteration.order[name])):
        if name not in found:
            found |= _with_parents(iteration, name, needed[name], found, dropped) or {}
    order = iteration.order
    return dict(sorted(found.items(), key=lambda item: order[item[0]]))


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


def _with_parents(
    iteration: Iteration, name: str, again: int, found: Mapping[str, Remake], dropped: Mapping[str, int]
) -> dict[str, Remake] | None:
    makers = makers_of(iteration, name)
    last = max((iteration.by_key[key].stage for key in makers), default=0)
    gone = max(dropped.get(name, -1), last_in_forward(iteration, name))
    if not makers or name in iteration.inputs or not last <= gone < again:
        return None
    more = {name: Remake(gone, again, makers)}
    reads = {read for key in makers for read in iteration.again[key].reads} - {name}
    for read in sorted(reads, key=iteration.order.__getitem__):
        if read in iteration.inputs or read not in iteration.last_stage or read in more:
            continue
        if read in found:
            if found[read].again < again and iteration.last_stage[read] < again:
                return None  # it was there for a moment, and would have to be made a second time
            continue
        if iteration.last_stage[read] >= again and read not in dropped:
            continue
        parents = _with_parents(iteration, read, again, {**found, **more}, dropped)
        if parents is None:
            if read in dropped and iteration.last_stage[read] >= again:
                continue  # it is kept
            return None
        more = {**parents, **more}
    return more
