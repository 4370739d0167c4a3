"""Activation checkpointing: of every block, or of every sqrt(n) of them together, only the input is kept.

`torch.utils.checkpoint` of one block (every=1), as most models' own switch does; every=sqrt is Chen et al., *Training
Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174): segments of as many blocks as there are segments. Backward of
a segment first makes again, in one go, what its backward reads, and keeps that until it is used. Rule read in PyTorch's
documentation (it stops behind the last tensor that is needed, as here).

Blocks are those that a model repeats; of a CNN without forks a CONV or FC with the cheap layers behind it, so that
every=1 saves what POOL and LRN read alone. What BN and DROPOUT keep beside their results stays. Of a captured step
every=1 checkpoints its layers, each as one module; its kernels' inputs were not captured, so that longer segments are
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from types import MappingProxyType
from typing import ClassVar

from vdnnsim.captured.choosing import layers_of
from vdnnsim.captured.remaking import remake_modules
from vdnnsim.captured.step import CapturedStep
from vdnnsim.errors import InvalidInput, InvalidValue
from vdnnsim.iteration import Iteration, Remake
from vdnnsim.policies.blocks import blocks_of
from vdnnsim.policies.grammar import Parameter, name_of
from vdnnsim.policies.plan import Plan, Problem
from vdnnsim.policies.remaking import last_in_forward, remakes_in_turn
from vdnnsim.policies.saves import Saves

SQRT = "sqrt"


def _every(text: str, what: str) -> str:
    if text != SQRT and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise InvalidValue(what, f"'{text}'", "a number of blocks, 1 or more, or sqrt")
    return text


@dataclass(frozen=True)
class Checkpoint:
    """Activation checkpointing (rule read): of so many blocks only the input is kept, the rest is made again."""

    every: str = "1"

    PARAMETERS: ClassVar[Mapping[str, Parameter]] = MappingProxyType({"every": Parameter("every", _every)})

    @property
    def name(self) -> str:
        return name_of("checkpoint", self)

    def check(self, problem: Problem) -> None:
        """Raise `InvalidInput` for segments of several layers of a captured step."""
        if problem.workload.one_way and self.every != "1":
            raise InvalidInput(f"policy '{self.name}': found a captured step, expected every=1: each layer by itself")

    def plan(self, problem: Problem) -> Plan:
        saves = Saves(problem)
        if saves.of_step:
            return saves.plan(_of_layers(self.name, problem.step))
        blocks = blocks_of(saves)
        together = ceil(sqrt(len(blocks))) if self.every == SQRT else int(self.every)
        iteration = saves.iteration
        again: dict[str, int] = {}
        for number in range(0, len(blocks), together):
            segment = blocks[number : number + together]
            again |= _of_segment(iteration, segment[0].first, segment[-1].last)
        # All at once: a segment's input may be made again as part of the one before.
        dropped = {name: last_in_forward(iteration, name) for name in again}
        return saves.plan(remakes_in_turn(iteration, dropped, again))


def _of_layers(name: str, step: CapturedStep) -> dict[str, Remake]:
    found: dict[str, Remake] = {}
    layers = layers_of(step)
    for layer in layers:
        if any(layer.startswith(f"{other}.") for other in layers):
            continue  # it runs again with that
        try:
            found |= remake_modules(step, [layer])
        except InvalidInput:  # it makes nothing that it alone saves
            continue
    if not found:
        raise InvalidInput(
            f"policy '{name}': found none in {step.header.name}, expected layers that make and save tensors"
        )
    return found


def _of_segment(iteration: Iteration, first: int, last: int) -> dict[str, int]:
    """What is made inside of these stages and read by them alone, and when it is made again: where the first of it is
    needed."""
    users = {name: [iteration.by_key[key].stage for key in keys] for name, keys in iteration.users.items()}
    stages = iteration.stages

    def inside(name: str) -> bool:
        forward = [stage for stage in users[name] if not stages[stage].backward]
        return bool(forward) and first <= min(forward) and max(forward) <= last

    wanted = [name for name, stage in iteration.first_read_in_backward.items() if inside(name)]
    behind = max((stage.forward for stage in stages if not stage.backward), default=0)
    if last == behind:
        wanted = [name for name in wanted if iteration.first_read_in_backward[name] > behind + 1]
    if not wanted:
        return {}
    return dict.fromkeys(wanted, min(iteration.first_read_in_backward[name] for name in wanted))
