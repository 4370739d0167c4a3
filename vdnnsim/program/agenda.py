"""What a schedule does, by stage: sorted once, and checked action by action."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum

from vdnnsim.iteration import (
    Action,
    BrokenSchedule,
    Iteration,
    Key,
    Leave,
    MemoryClass,
    Remake,
    Schedule,
    Shared,
    WeightGradients,
)

_TAKEN: dict[StrEnum, int] = {
    MemoryClass.FEATURE_MAPS: 0,
    MemoryClass.GRADIENT_MAPS: 1,
    MemoryClass.WEIGHT_GRADIENTS: 2,
}
"""The order in which a stage takes blocks for what it writes first."""

ByStage = defaultdict[int, list[str]]


class Agenda:
    """The tensors of each stage for which something happens there: those whose blocks it takes (`takes`), whose copy
    out (`out`) or in (`back`) is given, whose copy in must be there (`needed`), that are made again (`again`), and
    whose blocks go back (`done`); and the tensors with an action that each operator uses (`uses`).

    Raises `BrokenSchedule`.
    """

    def __init__(self, iteration: Iteration, schedule: Schedule) -> None:
        self.iteration = iteration
        self.schedule = schedule
        self.out, self.back, self.needed, self.again, self.done, self.takes = (ByStage(list) for _ in range(6))
        self.uses: defaultdict[Key, list[str]] = defaultdict(list)
        if schedule.own_copies:
            name = next(iter(schedule.own_copies))
            raise BrokenSchedule(name, "set-up", "a copy of it by itself", "actions alone: that is for captured steps")
        self._lifetimes()
        for name, action in schedule.actions.items():
            self._add(name, action)
        place = iteration.order
        for found in (self.out, self.done):
            for names in found.values():
                if len(names) > 1:
                    names.sort(key=place.__getitem__)
        for names in self.again.values():
            if len(names) > 1:  # what is made of others behind them
                names.sort(key=lambda name: (iteration.by_key[iteration.makers[name][-1]].stage, place[name]))

    def _lifetimes(self) -> None:
        """Blocks that are not there before the iteration come with the first use and go with the last one."""
        iteration, schedule = self.iteration, self.schedule
        shared = {name for item in schedule.before if isinstance(item, Shared) for name in item.tensors}
        uncounted = iteration.weight_gradients if schedule.weight_gradients is WeightGradients.NONE else frozenset()
        stays = schedule.stays | shared | uncounted
        held = stays.union(item for item in schedule.before if isinstance(item, str))
        for name, first in iteration.first_stage.items():
            if name not in held:
                self.takes[first].append(name)
        for name, last in iteration.last_stage.items():
            if name not in stays:
                self.done[last].append(name)
        for names in self.takes.values():
            if len(names) > 1:
                names.sort(key=lambda name: _TAKEN[iteration.buffers[name].memory_class])
        self.no_action = stays

    def _add(self, name: str, action: Action) -> None:
        if name not in self.iteration.buffers:
            count = len(self.iteration.buffers)
            raise BrokenSchedule(name, "set-up", "no such tensor", f"one of the {count} of the iteration")
        if name in self.no_action:
            raise BrokenSchedule(name, "set-up", "an action", "none for a tensor that stays or shares its block")
        for key in self.iteration.users[name]:
            self.uses[key].append(name)
        if isinstance(action, Leave):
            self._check_leave(name, action)
            if action.out is not None:
                self.out[action.out].append(name)
            self.done[action.freed].append(name)
            self.back[action.back].append(name)
            self.needed[action.needed].append(name)
        else:
            self._check_remake(name, action)
            self.done[action.dropped].append(name)
            self.again[action.again].append(name)
            if self.iteration.last_stage[name] < action.again:  # made for what is made of it, and gone with that
                self.done[action.again].append(name)

    def _check_leave(self, name: str, action: Leave) -> None:
        stages = len(self.iteration.stages)
        out = action.freed if action.out is None else action.out
        if not 0 <= out <= action.freed < action.back <= action.needed < stages:
            found = f"out {out}, freed {action.freed}, back {action.back}, needed {action.needed}"
            rule = f"0 <= out <= freed < back <= needed < {stages}, the stages"
            raise BrokenSchedule(name, self.title(out), found, rule)
        if action.out is None and (name not in self.iteration.inputs or name in self.iteration.written):
            rule = "a copy out of what the host does not have"
            raise BrokenSchedule(name, self.title(action.freed), "no copy out", rule)
        if self.iteration.last_stage.get(name, -1) < action.needed:
            raise BrokenSchedule(name, self.title(action.needed), "back for nobody", "a use at that stage or later")

    def _check_remake(self, name: str, action: Remake) -> None:
        stages = len(self.iteration.stages)
        if not 0 <= action.dropped < action.again < stages:
            found = f"dropped {action.dropped}, made again {action.again}"
            rule = f"0 <= dropped < again < {stages}, the stages"
            raise BrokenSchedule(name, self.title(action.dropped), found, rule)
        makers = tuple(key for key in self.iteration.makers[name] if self._writes_again(key, name))
        if not makers or action.by != makers:
            rule = f"by what makes it in forward: {_listed(makers)}"
            raise BrokenSchedule(name, self.title(action.again), f"made again by {_listed(action.by)}", rule)
        if any(self.iteration.by_key[key].stage > action.dropped for key in makers):
            rule = "dropped behind the last operator that makes it"
            raise BrokenSchedule(name, self.title(action.dropped), "dropped before it is made", rule)
        if self.iteration.last_stage[name] < action.again and not self._made_of(name, action.again):
            raise BrokenSchedule(name, self.title(action.again), "made again for nobody", "a use then or later")

    def _made_of(self, name: str, again: int) -> bool:
        """Whether something else is made of it in this stage."""
        others = (
            action for other, action in self.schedule.actions.items() if other != name and isinstance(action, Remake)
        )
        return any(
            name in self.iteration.again[key].reads for action in others if action.again == again for key in action.by
        )

    def _writes_again(self, key: Key, name: str) -> bool:
        """What forward keeps beside its result is there already when it runs once more."""
        return key in self.iteration.again and name in self.iteration.again[key].writes

    def title(self, stage: int) -> str:
        stages = self.iteration.stages
        return stages[stage].title if 0 <= stage < len(stages) else f"stage {stage}"


def _listed(keys: tuple[Key, ...]) -> str:
    return ", ".join(" ".join(key) for key in keys) or "nothing"
