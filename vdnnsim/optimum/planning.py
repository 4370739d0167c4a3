"""From what the model found to a schedule: which tensors leave, in which order copies are given, when blocks go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from vdnnsim.iteration import Action, Iteration, Layout, Leave, MemoryClass, Remake, Schedule, Waits, WeightGradients
from vdnnsim.optimum.instance import Gap, Instance
from vdnnsim.optimum.model import Solution

_HALF = 0.5
_NONE = 0.01


class _Leaving(NamedTuple):
    gap: Gap
    freed: int
    back: int
    needed: int
    written: int


def actions_of(
    iteration: Iteration,
    instance: Instance,
    solution: Solution,
    patient: bool = False,
    room: Instance | None = None,
    soon: bool = False,
) -> dict[str, Action]:
    """What a solution has tensors do, in the order in which copies in are given.

    A `patient` link waits for the copy out whose block goes first; else it takes what there is. Those that are to go
    `soon` do as soon as their copies are done, by the times of the model; with `room`, whose periods are stages, they
    do so, too, and come back as soon as there is room.
    """
    begins, ends = _stages(instance)
    actions: dict[str, Action] = {}
    leaving: list[_Leaving] = []
    wanted = _wanted(instance, solution)
    for gap, gone, again in zip(instance.gaps, solution.gone, solution.remade, strict=True):
        least = min(_HALF, max(gone) / 2)
        away = [gap.first + number for number, share in enumerate(gone) if share > least]
        if max(gone) < _NONE:
            continue
        if again is not None:
            makers = iteration.makers[gap.tensor] if iteration.again else ()  # of a captured step others know them
            makers = tuple(key for key in makers if gap.tensor in iteration.again[key].writes)
            actions[gap.tensor] = Remake(gap.uses.before, wanted(gap, begins[again]), makers)
            continue
        freed = begins[away[0]] - 1
        back = ends[away[-1]] + 1
        if freed < back <= (needed := wanted(gap, gap.uses.after)):
            leaving.append(_Leaving(gap, freed, back, needed, gap.uses.written))
    times = _times(instance, solution)
    outs = _given_out(times, [leave for leave in leaving if leave.gap.out_ns], patient)
    if room or soon:
        leaving = _sooner(times, leaving, outs)
    if room:
        leaving = _in_room(room, solution.algorithms, actions, leaving, times)
    actions.update(_leaves(leaving, outs))
    return dict(sorted(actions.items(), key=lambda item: _begins(item[1])))


def schedule_of(iteration: Iteration, actions: Mapping[str, Action], weight_gradients: WeightGradients) -> Schedule:
    """The schedule of a network whose tensors do this: streams wait for each other, blocks come with their first use
    and go with the last, weights stay."""
    held: list[str] = [
        name
        for name, tensor in iteration.tensors.items()
        if tensor.buffer.memory_class is MemoryClass.WEIGHTS
        or (weight_gradients is WeightGradients.RESIDENT and name in iteration.weight_gradients)
    ]
    data = [name for name in iteration.tensors if name in iteration.inputs and name not in held]
    return Schedule(
        Layout.LAYER_WISE,
        Waits.STREAMS,
        weight_gradients,
        (*held, *data),
        frozenset(held),
        actions,
        offload=frozenset(),
    )


def _stages(instance: Instance) -> tuple[list[int], list[int]]:
    """The first stage of each period, and the last."""
    stages = [(instance.steps[period[0]].stage, instance.steps[period[-1]].stage) for period in instance.periods]
    return [begin for begin, _ in stages], [end for _, end in stages]


def _wanted(instance: Instance, solution: Solution) -> Callable[[Gap, int], int]:
    """The stage in which what fills a gap must be back: where it is used, or before where something is made of it."""
    begins, _ = _stages(instance)
    makings = [
        (again, gap.sources) for gap, again in zip(instance.gaps, solution.remade, strict=True) if again is not None
    ]

    def wanted(gap: Gap, stage: int) -> int:
        gone = solution.gone[instance.gaps.index(gap)]
        left = next(gap.first + number for number, share in enumerate(gone) if share > min(_HALF, max(gone) / 2))
        return min([stage, *(begins[at] for at, sources in makings if gap.tensor in sources and at > left)])

    return wanted


def _begins(action: Action) -> tuple[int, int]:
    """Copies that are given in one stage go in the order in which they are needed."""
    return (action.back, action.needed) if isinstance(action, Leave) else (action.again, action.again)


class _Times(NamedTuple):
    """When each stage begins and ends, by the model."""

    begins_ns: dict[int, float]
    ends_ns: dict[int, float]


def _times(instance: Instance, solution: Solution) -> _Times:
    times = _Times({}, {-1: 0.0})
    now_ns = 0.0
    for period, wait_ns in zip(instance.periods, solution.waits_ns, strict=True):
        now_ns += wait_ns
        for number in period:
            step, algorithm = instance.steps[number], solution.algorithms[number]
            times.begins_ns.setdefault(step.stage, now_ns)
            now_ns += next(choice.duration_ns for choice in step.choices if choice.algorithm == algorithm)
            times.ends_ns[step.stage] = now_ns
    return times


def _leaves(leaving: list[_Leaving], outs: Mapping[str, _Out]) -> Iterable[tuple[str, Leave]]:
    latest = 0
    for leave in sorted(leaving, key=lambda leave: (leave.needed, leave.back)):
        latest = max(latest, leave.back)  # never behind one that is needed later
        out = outs.get(leave.gap.tensor)
        yield leave.gap.tensor, Leave(out and out.stage, leave.freed, min(latest, leave.needed), leave.needed)


def _sooner(times: _Times, leaving: list[_Leaving], outs: Mapping[str, _Out]) -> list[_Leaving]:
    """Each gone as soon as its copy is done."""
    found = []
    for leave in leaving:
        out = outs.get(leave.gap.tensor, _Out(0, 0.0))
        stages = range(max(leave.gap.uses.before, out.stage), leave.freed)
        freed = next((stage for stage in stages if times.ends_ns.get(stage, -1.0) >= out.done_ns), leave.freed)
        found.append(leave._replace(freed=freed))
    return found


def _in_room(
    room: Instance, algorithms: Sequence[str], actions: Mapping[str, Action], leaving: list[_Leaving], times: _Times
) -> list[_Leaving]:
    """Each back as soon as there is room and the link is free, in the order in which they are needed."""
    held = _held(room, algorithms)
    for gap in room.gaps:
        action = actions.get(gap.tensor)
        if isinstance(action, Remake) and action.dropped == gap.uses.before:
            for stage in range(action.dropped + 1, action.again):
                held[stage] -= gap.size_bytes
    for leave in leaving:
        for stage in range(leave.freed + 1, leave.needed):
            held[stage] -= leave.gap.size_bytes
    found = []
    link_free_ns = 0.0
    for leave in sorted(leaving, key=lambda leave: (leave.needed, leave.back)):
        back, size_bytes = leave.needed, leave.gap.size_bytes
        while back - 1 > leave.freed and times.begins_ns.get(back, link_free_ns + 1) > link_free_ns:
            if held[back - 1] + size_bytes > room.capacity_bytes:
                break
            back -= 1
            held[back] += size_bytes
        link_free_ns = max(link_free_ns, times.begins_ns.get(back, 0.0)) + leave.gap.in_ns
        found.append(leave._replace(back=back))
    return found


def _held(room: Instance, algorithms: Sequence[str]) -> dict[int, int]:
    """What there is in each stage where nothing leaves."""
    held: dict[int, int] = defaultdict(lambda: room.fixed_bytes)
    for number, period in enumerate(room.periods):
        stage = room.steps[period[0]].stage
        idle = sum(gap.size_bytes for gap in room.gaps if gap.first <= number <= gap.last)
        used = max(
            room.steps[step].used_bytes
            + next(ch.workspace_bytes for ch in room.steps[step].choices if ch.algorithm == algorithms[step])
            for step in period
        )
        held[stage] = room.fixed_bytes + used + idle
    return held


class _Out(NamedTuple):
    """The stage in which a copy out is given, and when it is done."""

    stage: int
    done_ns: float


def _given_out(times: _Times, leaving: list[_Leaving], patient: bool) -> dict[str, _Out]:
    """The stage in which each copy out is given, and when it is done: of those that can begin when the copy before is
    done, the one whose block goes first."""
    ends_ns = times.ends_ns
    waiting = sorted(leaving, key=lambda leave: (leave.written, leave.freed))
    outs: dict[str, _Out] = {}
    given, link_free_ns = 0, 0.0
    while waiting:
        begin_ns = max(link_free_ns, min(ends_ns[leave.written] for leave in waiting))
        ready = [leave for leave in waiting if patient or ends_ns[leave.written] <= begin_ns]
        urgent = min(ready, key=lambda leave: (leave.freed, leave.written))
        waiting.remove(urgent)
        given = max(given, urgent.written)
        link_free_ns = max(begin_ns, ends_ns[urgent.written]) + urgent.gap.out_ns
        outs[urgent.gap.tensor] = _Out(min(given, urgent.freed), link_free_ns)
    return outs
