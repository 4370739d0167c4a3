"""The blocks that a model repeats: residual blocks and inception modules of networks, numbered modules of steps.

A network is cut wherever one map alone is handed on. What lies between two cuts and is more than a layer forks inside,
and is a block, with an ACTV behind it; a layer by itself begins one where it is a CONV or FC, or comes behind such a
block, and else belongs to the one before.
"""

from __future__ import annotations

from typing import NamedTuple

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.choosing import layers_of, repeated_of
from vdnnsim.errors import InvalidInput
from vdnnsim.iteration import Iteration, MemoryClass
from vdnnsim.policies.plan import Problem
from vdnnsim.policies.saves import Saved, Saves

_BEGIN = ("CONV", "FC")
_FEWEST = 2


class ModelBlock(NamedTuple):
    """A block: the forward stages from `first` to `last`, where its backward begins, and what is saved in it. `forks`
    says that it is one that the model repeats."""

    first: int
    last: int
    backward: int
    saved: tuple[Saved, ...]
    forks: bool


def blocks_of(saves: Saves) -> tuple[ModelBlock, ...]:
    """All blocks, in the order of forward."""
    if saves.of_step:
        return _of_step(saves)
    iteration = saves.iteration
    backward_of = {stage.forward: number for number, stage in enumerate(iteration.stages) if stage.backward}
    return tuple(
        ModelBlock(
            first, last, backward_of[last], tuple(one for one in saves.tensors if first <= one.out <= last), forks
        )
        for first, last, forks in _segments(iteration)
    )


def repeated_blocks(policy: str, problem: Problem, saves: Saves) -> tuple[ModelBlock, ...]:
    """The blocks that are repeated. Raises `InvalidInput` where there are none."""
    found = tuple(block for block in blocks_of(saves) if block.forks)
    if len(found) < _FEWEST:
        raise InvalidInput(
            f"policy: found {policy} for {problem.workload.name}, expected a model that repeats blocks, such as "
            "resnet50 or googlenet"
        )
    return found


def _segments(iteration: Iteration) -> list[tuple[int, int, bool]]:
    last_use: dict[str, int] = {}
    written: dict[str, int] = {}
    layers = 0
    for operator in iteration.operators:
        if iteration.stages[operator.stage].backward:
            continue
        for name in (*operator.reads, *operator.writes):
            if iteration.buffers[name].memory_class is MemoryClass.FEATURE_MAPS and not name.startswith("saved:"):
                last_use[name] = operator.stage
                written.setdefault(name, operator.stage if name in operator.writes else -1)
    for stage in iteration.stages:
        layers += not stage.backward
    across = [0] * (layers + 1)
    for name, last in last_use.items():
        across[max(written[name], 0)] += 1
        across[last] -= 1
    found: list[tuple[int, int, bool]] = []
    first = alive = 0
    for now in range(layers):
        alive += across[now]
        if alive > 1 and now < layers - 1:
            continue
        forks = now > first
        kind = iteration.stages[first].kind
        if found and not forks and (kind == "ACTV" or not (found[-1][2] or kind in _BEGIN)):
            found[-1] = (found[-1][0], now, found[-1][2])
        else:
            found.append((first, now, forks))
        first = now + 1
    return found


def _of_step(saves: Saves) -> tuple[ModelBlock, ...]:
    by_name = {one.name: one for one in saves.tensors}
    layers = layers_of(saves.problem.step)
    repeated = bool(repeated_of(saves.problem.step))
    found = []
    for numbers in layers.values():
        saved = tuple(sorted((by_name[block_name(number)] for number in numbers), key=lambda one: one.out))
        first, last, backward = saved[0].out, saved[-1].out, min(one.needed for one in saved)
        found.append(ModelBlock(first, last, backward, saved, repeated))
    return tuple(sorted(found, key=lambda block: block.first))
