"""Small changes to the schedule of a captured step: blocks that leave or are made again, or stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.choosing import may_leave
from vdnnsim.captured.making import makings
from vdnnsim.captured.step import CapturedStep
from vdnnsim.iteration import Action, Iteration, Leave, Remake, Schedule
from vdnnsim.optimum.improving import Change, Changes
from vdnnsim.optimum.steps import cost_of_making, in_time, remake_of

_FEW = (1, 2, 4, 8, 16)
_AT_ONCE = 16
_OF = 2
"""Of so many blocks that is made again for which that takes least for its size."""


def changes_of_step(step: CapturedStep, remake: bool = True) -> Changes:
    """What `improve` tries of this step's schedules; without `remake` nothing is made again."""

    def change(how: Callable[[CapturedStep, dict[str, Action], Random], bool]) -> Change:
        def changed(_iteration: Iteration, schedule: Schedule, random: Random) -> Schedule | None:
            actions = dict(schedule.actions)
            return replace(schedule, actions=in_time(step, actions)) if how(step, actions, random) else None

        return changed

    make_again, leave, keep, shift, trade, go = map(change, (_make_again, _leave, _keep, _shift, _trade, _go_sooner))
    if not remake:
        return Changes((keep, keep, shift, shift, leave), (leave, leave, shift, go), _AT_ONCE)
    fitting = keep, keep, shift, trade, trade, leave, make_again
    return Changes(fitting, (make_again, make_again, trade, trade, go, go), _AT_ONCE)


def _make_again(step: CapturedStep, actions: dict[str, Action], random: Random) -> bool:
    """One more block is dropped and made again, also in place of leaving."""
    others = [number for number in makings(step) if not isinstance(actions.get(block_name(number)), Remake)]
    if not others:
        return False
    number = min(
        random.choices(others, k=_OF),
        key=lambda number: max(cost_of_making(step, number)) / step.blocks[number].size_bytes,
    )
    actions[block_name(number)] = remake_of(step, number, step.stages.needs[number][0])
    return True


def _trade(step: CapturedStep, actions: dict[str, Action], random: Random) -> bool:
    """One is made again in place of another."""
    return _keep(step, actions, random) and _make_again(step, actions, random)


def _leave(step: CapturedStep, actions: dict[str, Action], random: Random) -> bool:
    """One more leaves, also in place of being made again."""
    others = [number for number in may_leave(step) if not isinstance(actions.get(block_name(number)), Leave)]
    if not others:
        return False
    number = random.choice(others)
    out, needed = step.stages.leaves(number), step.stages.needs[number][0]
    freed = min(out + random.choice(_FEW), step.stages.need[0] - 1)
    actions[block_name(number)] = Leave(out, max(out, freed), _need(step, needed, -random.choice(_FEW)), needed)
    return True


def _keep(_step: CapturedStep, actions: dict[str, Action], random: Random) -> bool:
    """One stays."""
    if not actions:
        return False
    del actions[random.choice(list(actions))]
    return True


def _shift(step: CapturedStep, actions: dict[str, Action], random: Random) -> bool:
    """One that leaves goes, or comes back, some calls sooner or later."""
    leaves = {name: action for name, action in actions.items() if isinstance(action, Leave)}
    if not leaves:
        return False
    name = random.choice(list(leaves))
    out, freed, back, needed, *_ = leaves[name]
    assert out is not None
    by = random.choice((-1, 1)) * random.choice(_FEW)
    if random.random() < 0.5:
        freed = max(out, freed + by)
    else:
        back = min(_need(step, back, by), needed)
    actions[name] = leaves[name]._replace(freed=freed, back=back)
    return freed < back


def _go_sooner(_step: CapturedStep, actions: dict[str, Action], random: Random) -> bool:
    """One that leaves goes sooner: what is taken behind it may lie where it did, rather than between others."""
    late = [name for name, action in actions.items() if isinstance(action, Leave) and action.freed > (action.out or 0)]
    if not late:
        return False
    name = random.choice(late)
    leave = actions[name]
    assert isinstance(leave, Leave)
    actions[name] = leave._replace(freed=random.randint(leave.out or 0, leave.freed - 1))
    return True


def _need(step: CapturedStep, stage: int, by: int) -> int:
    """The need so many needs behind the one that begins a stage, or before it."""
    needs = step.stages.need
    return needs[min(max(0, needs.index(stage) + by), len(needs) - 1)]
