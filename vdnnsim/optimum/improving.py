"""Small changes to a schedule, kept where the simulated machine says that it is better for them.

The model knows neither addresses nor the order of copies in detail. What is taken before the iteration lies side by
side at the begin of memory, and leaves no holes between what comes and goes; when copies are given and blocks go says
who waits. Which of these help is tried, at random from a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import NamedTuple

from vdnnsim.iteration import Iteration, Leave, MemoryClass, Schedule
from vdnnsim.optimum.rehearsal import Rehearsal

_MORE, _FEWER = 1.5, 0.97
"""By so much more, and less, is changed at once behind a change that helped, and each other."""
Change = Callable[[Iteration, Schedule, Random], Schedule | None]


class Changes(NamedTuple):
    """What is tried of a schedule that fits, and of one that does not; what is there twice is twice as often. Up to
    `at_once` times one behind the other: more where that helped, fewer where it did not."""

    fitting: tuple[Change, ...]
    for_room: tuple[Change, ...]
    at_once: int = 1


def improve(
    iteration: Iteration,
    schedule: Schedule,
    rehearse: Callable[[Schedule], tuple[Schedule, Rehearsal] | None],
    go_on: Callable[[], bool],
    changes: Changes | None = None,
    allowed: Callable[[Schedule], bool] = lambda _: True,
) -> Iterator[tuple[Schedule, Rehearsal]]:
    """The schedule and better and better ones, each as `rehearse` had it and with what came of it: one that fits is
    better than one that does not, then the quicker; of those that do not fit that which comes farther."""
    random = Random(1)
    fitting, for_room, at_once = changes or _OF_NETWORKS
    stages = {stage.title: number for number, stage in enumerate(iteration.stages)}

    def rank(tried: Rehearsal) -> tuple[int, int, int]:
        if tried.fits:
            return 0, tried.time_ns, 0
        return 1, -stages.get(tried.no_room_in, -1), tried.missing_bytes

    # The paper's window would put copies in where it wants them whenever one is put off.
    schedule = replace(schedule, fences=None)
    found = rehearse(schedule)
    if found is None:
        return
    yield found
    best = found[1]
    times = float(at_once)
    while go_on():
        change = random.choice(fitting if best.fits else for_room)
        other: Schedule | None = schedule
        for _ in range(random.randint(1, round(times)) if at_once > 1 else 1):
            other = other and change(iteration, other, random)
        found = rehearse(other) if other else None
        times = max(1.0, times * _FEWER)
        if other and found and rank(found[1]) <= rank(best) and allowed(other):
            better = rank(found[1]) < rank(best)
            schedule, best = other, found[1]
            if better:
                times = min(times * _MORE, at_once)
                yield found


def _take_before(iteration: Iteration, schedule: Schedule, random: Random) -> Schedule | None:
    """One more map is taken before the iteration, somewhere among those that are."""
    others = [
        name
        for name, tensor in iteration.tensors.items()
        if tensor.buffer.memory_class is MemoryClass.FEATURE_MAPS
        and name not in schedule.before
        and name in iteration.first_stage
    ]
    if not others:
        return None
    before = list(schedule.before)
    before.insert(random.randint(0, len(before)), random.choice(others))
    return replace(schedule, before=tuple(before))


def _take_later(iteration: Iteration, schedule: Schedule, random: Random) -> Schedule | None:
    """One map fewer is taken before the iteration."""
    some = [name for name in schedule.before if name not in schedule.stays and name not in iteration.inputs]
    if not some:
        return None
    gone = random.choice(some)
    return replace(schedule, before=tuple(name for name in schedule.before if name != gone))


def _move_before(_iteration: Iteration, schedule: Schedule, random: Random) -> Schedule:
    """One of those taken before the iteration lies elsewhere among them."""
    before = list(schedule.before)
    name = before.pop(random.randrange(len(before)))
    before.insert(random.randint(0, len(before)), name)
    return replace(schedule, before=tuple(before))


def _shift(_iteration: Iteration, schedule: Schedule, random: Random) -> Schedule | None:
    """A block goes, or comes back, or its copy out is given, some stages sooner or later."""
    leaves = schedule.leaves
    if not leaves:
        return None
    name = random.choice(list(leaves))
    leave = leaves[name]
    by = random.choice((-4, -2, -1, 1, 2, 4))
    what = random.choice(("out", "freed", "back"))
    if what == "out" and leave.out is None:
        return None
    moved: Leave = leave._replace(**{what: getattr(leave, what) + by})
    out = moved.freed if moved.out is None else moved.out
    if not 0 <= out <= moved.freed < moved.back <= moved.needed:
        return None
    return replace(schedule, actions={**schedule.actions, name: moved})


def _swap_order(_iteration: Iteration, schedule: Schedule, random: Random) -> Schedule | None:
    """Two actions change places: copies of one stage go in that order."""
    if len(schedule.actions) < 2:
        return None
    items = list(schedule.actions.items())
    place = random.randrange(len(items) - 1)
    items[place], items[place + 1] = items[place + 1], items[place]
    return replace(schedule, actions=dict(items))


def _keep(_iteration: Iteration, schedule: Schedule, random: Random) -> Schedule | None:
    """A tensor stays."""
    if not schedule.actions:
        return None
    name = random.choice(list(schedule.actions))
    return replace(schedule, actions={kept: action for kept, action in schedule.actions.items() if kept != name})


def _leave(iteration: Iteration, schedule: Schedule, random: Random) -> Schedule | None:
    """One more map leaves between forward and backward: out behind its last use, back some stages before the next."""
    stay = schedule.stays.union(schedule.actions)
    maps = [
        name
        for name, read in iteration.first_read_in_backward.items()
        if name not in stay
        and iteration.last_input_of.get(name, read) + 1 < read
        and iteration.tensors[name].buffer.memory_class is MemoryClass.FEATURE_MAPS
    ]
    if not maps:
        return None
    name = random.choice(maps)
    last, needed = iteration.last_input_of[name], iteration.first_read_in_backward[name]
    freed = min(last + random.choice((0, 1, 2, 4)), needed - 1)
    back = max(needed - random.choice((0, 1, 2, 4)), freed + 1)
    given = name in iteration.inputs and name not in iteration.written
    leave = Leave(None if given else last, freed, back, needed)
    return replace(schedule, actions={**schedule.actions, name: leave})


_OF_NETWORKS = Changes(
    (_shift, _shift, _shift, _keep, _leave, _take_before, _take_later, _swap_order),
    (_take_before, _take_later, _move_before, _move_before, _shift, _leave),
)
