"""From what the model found to a schedule: which tensors leave, in which order copies are given, when blocks go."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from vdnnsim.iteration import Action, Iteration, Layout, Leave, MemoryClass, Remake, Schedule, Waits, WeightGradients
from vdnnsim.optimum.instance import Gap, Instance
from vdnnsim.optimum.model import Solution

_HALF = 0.5


class _Leaving(NamedTuple):
    gap: Gap
    freed: int
    back: int
    needed: int
    written: int


def schedule_of(
    iteration: Iteration,
    instance: Instance,
    solution: Solution,
    weight_gradients: WeightGradients,
    patient: bool = False,
    lean: bool = False,
) -> Schedule:
    """The schedule of a whole solution: streams wait for each other, blocks come with their first use and go with the
    last, weights stay. A `patient` link waits for the copy out whose block goes first; else it takes what there is. In
    a `lean` one blocks go as soon as their copies are done and come back as late as they may, by the model's times."""
    begins, ends = _stages(instance)
    actions: dict[str, Action] = {}
    leaving: list[_Leaving] = []
    wanted = _wanted(instance, solution)
    for gap, gone, again in zip(instance.gaps, solution.gone, solution.remade, strict=True):
        away = [gap.first + number for number, share in enumerate(gone) if share > _HALF]
        if not away:
            continue
        if again is not None:
            makers = tuple(key for key in iteration.makers[gap.tensor] if gap.tensor in iteration.again[key].writes)
            actions[gap.tensor] = Remake(gap.uses.before, wanted(gap, begins[again]), makers)
            continue
        freed = begins[away[0]] - 1
        back = ends[away[-1]] + 1
        if freed < back <= (needed := wanted(gap, gap.uses.after)):
            leaving.append(_Leaving(gap, freed, back, needed, gap.uses.written))
    actions.update(_leaves(instance, solution, leaving, patient, lean))
    held: list[str] = [
        name
        for name, tensor in iteration.tensors.items()
        if tensor.buffer.memory_class is MemoryClass.WEIGHTS
        or (weight_gradients is WeightGradients.RESIDENT and name in iteration.weight_gradients)
    ]
    data = [name for name in iteration.tensors if name in iteration.inputs and name not in held]
    ordered = dict(sorted(actions.items(), key=lambda item: _begins(item[1])))
    return Schedule(
        Layout.LAYER_WISE,
        Waits.STREAMS,
        weight_gradients,
        (*held, *data),
        frozenset(held),
        ordered,
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
        left = next(gap.first + number for number, share in enumerate(gone) if share > _HALF)
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


def _leaves(
    instance: Instance, solution: Solution, leaving: list[_Leaving], patient: bool, lean: bool
) -> Iterable[tuple[str, Leave]]:
    times = _times(instance, solution)
    outs = _given_out(times, [leave for leave in leaving if leave.gap.out_ns], patient)
    late = _late(times, leaving) if lean else {}
    latest = 0
    for leave in sorted(leaving, key=lambda leave: (leave.needed, leave.back)):
        name = leave.gap.tensor
        latest = max(latest, leave.back, late.get(name, 0))  # never behind one that is needed later
        out, done_ns = outs.get(name, (None, 0.0))
        freed = leave.freed
        if lean:
            first = max(leave.gap.uses.before, out or 0)
            freed = next((at for at in range(first, freed) if times.ends_ns.get(at, -1.0) >= done_ns), freed)
        yield name, Leave(out, freed, min(latest, leave.needed), leave.needed)


def _late(times: _Times, leaving: list[_Leaving]) -> dict[str, int]:
    """The last stage in which each copy in may be given, so that all come in time, one behind the other."""
    late: dict[str, int] = {}
    link_free_ns = float("inf")
    stages = sorted(times.begins_ns)
    for leave in sorted(leaving, key=lambda leave: (-leave.needed, -leave.back)):
        link_free_ns = min(link_free_ns, times.begins_ns[leave.needed]) - leave.gap.in_ns
        given = [stage for stage in stages if stage <= leave.needed and times.begins_ns[stage] <= link_free_ns]
        late[leave.gap.tensor] = max(leave.back, given[-1] if given else 0)
    return late


def _given_out(times: _Times, leaving: list[_Leaving], patient: bool) -> dict[str, tuple[int, float]]:
    """The stage in which each copy out is given, and when it is done: of those that can begin when the copy before is
    done, the one whose block goes first."""
    ends_ns = times.ends_ns
    waiting = sorted(leaving, key=lambda leave: (leave.written, leave.freed))
    outs: dict[str, tuple[int, float]] = {}
    given, link_free_ns = 0, 0.0
    while waiting:
        begin_ns = max(link_free_ns, min(ends_ns[leave.written] for leave in waiting))
        ready = [leave for leave in waiting if patient or ends_ns[leave.written] <= begin_ns]
        urgent = min(ready, key=lambda leave: (leave.freed, leave.written))
        waiting.remove(urgent)
        given = max(given, urgent.written)
        link_free_ns = max(begin_ns, ends_ns[urgent.written]) + urgent.gap.out_ns
        outs[urgent.gap.tensor] = min(given, urgent.freed), link_free_ns
    return outs
