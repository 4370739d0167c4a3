"""Tensors of networks that are dropped after forward and made again, with what they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from vdnnsim.iteration import Action, Iteration, Key, Remake


def makers_of(iteration: Iteration, name: str) -> tuple[Key, ...]:
    """The forward operators that write it when they run once more; none where they cannot."""
    found = iteration.makers[name]
    if any(key not in iteration.again or name not in iteration.again[key].writes for key in found):
        return ()
    return found


def remakes_of(
    iteration: Iteration, wanted: Iterable[str], again: int, others: Mapping[str, Action] | None = None
) -> dict[str, Remake]:
    """How these are dropped after their last use in forward and made again in one stage, in so far as they can be: with
    what they are made of, where that is not there any more, for as long as it takes. What `others` do is left alone."""
    found: dict[str, Remake] = {}
    for name in wanted:
        more = _with_parents(iteration, name, again, found, others or {})
        found |= more or {}
    order = iteration.order
    return dict(sorted(found.items(), key=lambda item: order[item[0]]))


def last_in_forward(iteration: Iteration, name: str) -> int:
    """The last stage of forward that uses it; -1 where none does."""
    stages = (iteration.by_key[key].stage for key in iteration.users[name])
    return max((stage for stage in stages if not iteration.stages[stage].backward), default=-1)


def _with_parents(
    iteration: Iteration, name: str, again: int, found: Mapping[str, Remake], others: Mapping[str, Action]
) -> dict[str, Remake] | None:
    makers = makers_of(iteration, name)
    if not makers or name in iteration.inputs or name in others:
        return None
    more = {name: Remake(last_in_forward(iteration, name), again, makers)}
    reads = {read for key in makers for read in iteration.again[key].reads} - {name}
    for read in reads:
        if read in found or read in iteration.inputs or read not in iteration.last_stage:
            continue
        if iteration.last_stage[read] >= again and not isinstance(others.get(read), Remake):
            continue
        parents = _with_parents(iteration, read, again, {**found, **more}, others)
        if parents is None:
            return None
        more = {**parents, **more}
    return more
