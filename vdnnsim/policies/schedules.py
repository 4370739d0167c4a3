"""Functions that write schedules: network-wide, layer-wise, the paper's prefetch window, deferring a prefetch.

Rules, from the paper's mechanism (MICRO 2016, the memory manager and its prefetch algorithm):

* A map with several readers is offloaded by the last of them in forward (reference counts).
* Prefetch window: walk back from the layer before; the first one with an X on the host is taken; a CONV without one
  ends the walk. So there is at most one prefetch per layer, and none from further back than the closest CONV. An X that
  is not back is fetched by its own layer.
* The paper does not say what happens to a prefetch that finds no room. Here layers may be `deferred`: their backward
  prefetches nothing, so that the next layer's window finds the same map again.
* Weights stay; the classifier's maps are there before the iteration and stay, unless the policy has them leave.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from vdnnsim.iteration import (
    Action,
    Buffer,
    Iteration,
    Layout,
    Leave,
    MemoryClass,
    Schedule,
    Shared,
    Waits,
    WeightGradients,
)

FENCES = frozenset({"CONV"})
"""Kinds of layers over which the paper's window does not reach."""


def write_schedule(
    iteration: Iteration,
    layout: Layout,
    offload: Iterable[str] = (),
    weight_gradients: WeightGradients = WeightGradients.PER_LAYER,
    deferred: Iterable[str] = (),
) -> Schedule:
    """The paper's schedules: everything before the iteration; or layer by layer, where X of the layers in `offload`
    leaves, and the backward of those in `deferred` prefetches nothing."""
    if layout is Layout.NETWORK_WIDE:
        return replace(network_wide(iteration, weight_gradients), offload=frozenset(offload))
    schedule = layer_wise(iteration, frozenset(offload), weight_gradients)
    return replace_window(iteration, schedule, deferred) if deferred else schedule


def network_wide(iteration: Iteration, weight_gradients: WeightGradients) -> Schedule:
    """The baseline's: all maps, weights and saved data have blocks of their own for the whole iteration; gradient maps
    and the workspace are shared (vDNN, the baseline's network-wide allocation)."""
    before: list[str | Shared] = [*_of_class(iteration, MemoryClass.WEIGHTS)]
    before += _of_class(iteration, MemoryClass.FEATURE_MAPS)
    before += gradient_slots(iteration, _of_class(iteration, MemoryClass.GRADIENT_MAPS), "network")
    gradients = _of_class(iteration, MemoryClass.WEIGHT_GRADIENTS)
    if weight_gradients is WeightGradients.RESIDENT:
        before += gradients
    elif weight_gradients is WeightGradients.PER_LAYER and gradients:
        largest = max((iteration.tensors[name].buffer for name in gradients), key=lambda buffer: buffer.size_bytes)
        before.append(Shared(largest._replace(name="weight gradient buffer"), tuple(gradients)))
    return Schedule(
        Layout.NETWORK_WIDE,
        Waits.STREAMS,
        weight_gradients,
        tuple(before),
        frozenset(name for name in before if isinstance(name, str)),
        shared_workspace=True,
    )


def layer_wise(
    iteration: Iteration, offload: frozenset[str], weight_gradients: WeightGradients, waits: Waits = Waits.EACH_LAYER
) -> Schedule:
    """vDNN's: each layer's memory when its turn comes; X of these layers leaves in the forward of its last reader."""
    leaving = offloaded_tensors(iteration, offload)
    before: list[str | Shared] = [*_of_class(iteration, MemoryClass.WEIGHTS)]
    if weight_gradients is WeightGradients.RESIDENT:
        before += _of_class(iteration, MemoryClass.WEIGHT_GRADIENTS)
    static = [
        name
        for name in _of_class(iteration, MemoryClass.FEATURE_MAPS)
        if name in iteration.inputs or (iteration.tensors[name].buffer.in_classifier and name not in leaving)
    ]
    before += static
    kept = {name for name in before if isinstance(name, str)}
    stays = {name for name in kept if name not in leaving and not _done_in_backward(iteration, name)}
    classifier = [
        name for name in _of_class(iteration, MemoryClass.GRADIENT_MAPS) if iteration.tensors[name].buffer.in_classifier
    ]
    before += gradient_slots(iteration, classifier, "classifier")
    # When they come back is the window's to say.
    actions = {name: Leave(out, out, 0, 0) for name, out in leaving.items()}
    schedule = Schedule(
        Layout.LAYER_WISE, waits, weight_gradients, tuple(before), frozenset(stays), actions, False, offload, FENCES
    )
    return replace_window(iteration, schedule, ())


def _done_in_backward(iteration: Iteration, name: str) -> bool:
    """Whether a block that was there before the iteration goes after its last use: input data that backward reads."""
    tensor = iteration.tensors[name].buffer
    is_data = name in iteration.inputs and tensor.memory_class is MemoryClass.FEATURE_MAPS
    return is_data and name in iteration.first_read_in_backward


def _of_class(iteration: Iteration, memory_class: MemoryClass) -> list[str]:
    return [name for name, tensor in iteration.tensors.items() if tensor.buffer.memory_class is memory_class]


def offloaded_tensors(iteration: Iteration, offload: Collection[str]) -> dict[str, int]:
    """X of these layers, less what backward never reads and what a layer of the classifier reads last that is not one
    of them, with the stage of its last reader; in the order of layers, so that every process gives the same program."""
    leaving = {}
    for stage in iteration.stages:
        if stage.backward:
            break
        if stage.layer not in offload:
            continue
        for name in stage.inputs:
            last = iteration.last_input_of[name]
            reader = iteration.stages[last]
            if name in iteration.first_read_in_backward and (not reader.in_classifier or reader.layer in offload):
                leaving[name] = last
    return leaving


def replace_window(iteration: Iteration, schedule: Schedule, deferred: Iterable[str]) -> Schedule:
    """The schedule with the copies in where the paper's window puts them; the backward of these layers prefetches
    nothing."""
    deferred = frozenset(deferred)
    returns = _window(iteration, schedule.leaves, schedule.fences or frozenset(), deferred)
    actions = {
        name: action._replace(**returns[name]._asdict()) if isinstance(action, Leave) else action
        for name, action in schedule.actions.items()
    }
    return replace(schedule, actions=actions, deferred=deferred)


def free_earlier(iteration: Iteration, schedule: Schedule, stage: int, wanted_bytes: int) -> Schedule | None:
    """The schedule with blocks given back at the end of the stage before, where they may be and their copies have been
    given by then: the oldest copies first, which are done first, until they come to so many bytes. None without any."""
    place = {name: number for number, name in enumerate(schedule.actions)}
    held = [
        (action.out, place[name], name, action)
        for name, action in schedule.leaves.items()
        if action.freed_early and action.out is not None and action.out < stage <= action.freed
    ]
    sooner: dict[str, Action] = {}
    for _, _, name, action in sorted(held):
        sooner[name] = action._replace(freed=stage - 1)
        wanted_bytes -= iteration.buffers[name].size_bytes
        if wanted_bytes <= 0:
            break
    return replace(schedule, actions={**schedule.actions, **sooner}) if sooner else None


def defer(iteration: Iteration, schedule: Schedule, stage: int) -> Schedule:
    """The schedule with the prefetches of this stage put off: by the window where prefetches follow it, else to the
    next stage."""
    deferred = schedule.deferred | {iteration.stages[stage].layer}
    if schedule.fences is not None:
        return replace_window(iteration, schedule, deferred)
    actions = {
        name: action._replace(back=stage + 1, put_off=True)
        if isinstance(action, Leave) and action.back == stage < action.needed
        else action
        for name, action in schedule.actions.items()
    }
    return replace(schedule, actions=actions, deferred=deferred)


class _Return(NamedTuple):
    back: int
    needed: int
    put_off: bool


def _window(
    iteration: Iteration, leaving: Collection[str], fences: frozenset[str], deferred: frozenset[str]
) -> dict[str, _Return]:
    """When each tensor that leaves comes back. Where the nearest X on the host lies, and the nearest fence, is kept
    rather than walked to, so that a long chain costs no more than its length."""
    stages = iteration.stages
    away = set(leaving)
    put_off: set[str] = set()
    found: dict[str, _Return] = {}
    layers = [number for number, stage in enumerate(stages) if not stage.backward]
    wanting = [number for number in layers if any(name in away for name in stages[number].inputs)]
    fence = -1
    fence_before = {}
    for number in layers:
        fence_before[number] = fence
        if stages[number].kind in fences:
            fence = number
    backward_of = {stage.forward: number for number, stage in enumerate(stages) if stage.backward}

    def fetch(layer: int, now: int) -> None:
        for name in stages[layer].inputs:
            if name in away:
                away.discard(name)
                found[name] = _Return(now, backward_of[layer], name in put_off)

    for now, stage in enumerate(stages):
        if not stage.backward:
            continue
        fetch(stage.forward, now)
        while wanting and (wanting[-1] >= stage.forward or not away.intersection(stages[wanting[-1]].inputs)):
            wanting.pop()
        if not wanting or wanting[-1] < fence_before[stage.forward]:
            continue
        if stage.layer in deferred:
            put_off.update(away.intersection(stages[wanting[-1]].inputs))
        else:
            fetch(wanting[-1], now)
    return found


def gradient_slots(iteration: Iteration, gradients: Collection[str], region: str) -> list[Shared]:
    """Shared blocks for these gradients.

    A chain needs two, both as large as the largest gradient (paper: the baseline's shared dX and dY). Forks
    need further ones, each as large as the largest gradient it ever holds.
    """
    order = iteration.order
    first, last = _lifetimes(iteration, gradients)
    busy_until: list[int] = []
    sizes: list[int] = []
    held: list[list[str]] = []
    for name in sorted(gradients, key=lambda name: (first[name], order[name])):
        slot = next((index for index, end in enumerate(busy_until) if end < first[name]), len(busy_until))
        if slot == len(busy_until):
            busy_until.append(0)
            sizes.append(0)
            held.append([])
        busy_until[slot] = last[name]
        sizes[slot] = max(sizes[slot], iteration.tensors[name].buffer.size_bytes)
        held[slot].append(name)
    sizes[:2] = [max(sizes)] * len(sizes[:2]) if sizes else []
    inside = bool(gradients) and all(iteration.tensors[name].buffer.in_classifier for name in gradients)
    names = (f"gradient buffer:{region}:{slot}" for slot in range(len(sizes)))
    return [
        Shared(Buffer(name, size, MemoryClass.GRADIENT_MAPS, region, inside), tuple(tensors))
        for name, size, tensors in zip(names, sizes, held, strict=True)
    ]


def _lifetimes(iteration: Iteration, gradients: Collection[str]) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """The first and last stage of each. No operator reads the gradient of the loss's own output; the paper's shared dY
    is there for it all the same, when the backward of the loss begins."""
    backward_of = {stage.layer: number for number, stage in enumerate(iteration.stages) if stage.backward}
    untouched = {
        name: backward_of[iteration.tensors[name].buffer.layer]
        for name in gradients
        if name not in iteration.first_stage
    }
    begins = {name: stage - 1 for name, stage in untouched.items()}
    return {**iteration.first_stage, **begins}, {**iteration.last_stage, **untouched}
