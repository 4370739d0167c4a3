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
) -> Schedule:
    """The schedule of a whole solution: streams wait for each other, blocks come with their first use and go with the
    last, weights stay. A `patient` link waits for the copy out whose block goes first; else it takes what there is."""
    stage_of = [step.stage for step in instance.steps]
    actions: dict[str, Action] = {}
    leaving: list[_Leaving] = []
    wanted = _wanted(instance, solution)
    for gap, gone, again in zip(instance.gaps, solution.gone, solution.remade, strict=True):
        away = [gap.first + number for number, share in enumerate(gone) if share > _HALF]
        if not away:
            continue
        if again is not None:
            makers = tuple(key for key in iteration.makers[gap.tensor] if gap.tensor in iteration.again[key].writes)
            actions[gap.tensor] = Remake(stage_of[gap.first] - 1, wanted(gap, again), makers)
            continue
        freed = stage_of[away[0]] - 1
        back = stage_of[away[-1]] + 1
        if freed < back <= (needed := wanted(gap, gap.needed)):
            written = stage_of[gap.written] if gap.written >= 0 else 0
            leaving.append(_Leaving(gap, freed, back, needed, written))
    actions.update(_leaves(instance, solution, leaving, patient))
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


def _wanted(instance: Instance, solution: Solution) -> Callable[[Gap, int], int]:
    """The stage in which what fills a gap must be back: where it is used, or before where something is made of it."""
    stage_of = [step.stage for step in instance.steps]
    makings = [
        (again, gap.sources) for gap, again in zip(instance.gaps, solution.remade, strict=True) if again is not None
    ]

    def wanted(gap: Gap, step: int) -> int:
        gone = solution.gone[instance.gaps.index(gap)]
        left = next(gap.first + number for number, share in enumerate(gone) if share > _HALF)
        return min([stage_of[step], *(stage_of[at] for at, sources in makings if gap.tensor in sources and at > left)])

    return wanted


def _begins(action: Action) -> tuple[int, int]:
    """Copies that are given in one stage go in the order in which they are needed."""
    return (action.back, action.needed) if isinstance(action, Leave) else (action.again, action.again)


def _leaves(
    instance: Instance, solution: Solution, leaving: list[_Leaving], patient: bool
) -> Iterable[tuple[str, Leave]]:
    outs = _given_out(instance, solution, [leave for leave in leaving if leave.gap.out_ns], patient)
    latest = 0
    for leave in sorted(leaving, key=lambda leave: (leave.needed, leave.back)):
        latest = max(latest, leave.back)  # never behind one that is needed later
        back = min(latest, leave.needed)
        yield leave.gap.tensor, Leave(outs.get(leave.gap.tensor), leave.freed, back, leave.needed)


def _given_out(instance: Instance, solution: Solution, leaving: list[_Leaving], patient: bool) -> dict[str, int]:
    """The stage in which each copy out is given: of those that can begin when the copy before is done, the one whose
    block goes first, kernels taken as running without a gap."""
    ends: dict[int, int] = {-1: 0}
    now = 0
    for step, algorithm in zip(instance.steps, solution.algorithms, strict=True):
        now += next(choice.duration_ns for choice in step.choices if choice.algorithm == algorithm)
        ends[step.stage] = now
    waiting = sorted(leaving, key=lambda leave: (leave.written, leave.freed))
    outs: dict[str, int] = {}
    given = link_free_ns = 0
    while waiting:
        begin = max(link_free_ns, min(ends[leave.written] for leave in waiting))
        ready = [leave for leave in waiting if patient or ends[leave.written] <= begin]
        urgent = min(ready, key=lambda leave: (leave.freed, leave.written))
        waiting.remove(urgent)
        given = max(given, urgent.written)
        outs[urgent.gap.tensor] = min(given, urgent.freed)
        link_free_ns = max(begin, ends[urgent.written]) + urgent.gap.out_ns
    return outs
