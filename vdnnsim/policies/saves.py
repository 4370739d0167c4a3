"""What forward saves for backward, in networks and in captured steps alike, and plans in which some of it leaves.

Frameworks save tensor by tensor, so that for policies of theirs all that backward reads may leave: maps, masks, what BN
keeps. The input data stays, since the training loop holds it. What two layers save is one tensor here and leaves once
(torch's hooks copy it for each of them). Maps of networks are taken when their layer runs, the classifier's too, and
the host waits at the end of the iteration alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import NamedTuple

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.choosing import GEMM, kind_of, may_leave
from vdnnsim.captured.saved import saved_name
from vdnnsim.captured.schedules import schedule_of
from vdnnsim.captured.step import CapturedStep
from vdnnsim.iteration import (
    Action,
    CopyStreams,
    Iteration,
    Layout,
    Leave,
    MemoryClass,
    OwnCopy,
    Schedule,
    Waits,
    WeightGradients,
)
from vdnnsim.policies.plan import Plan, Problem, workspaces_of


class Saved(NamedTuple):
    """A tensor, or a captured step's block, that forward saves in the stage `out` of `layer`, which its copy out may
    follow; from the end of `idle` on nobody uses it, until backward does in `needed`."""

    name: str
    size_bytes: int
    elements: int
    out: int
    idle: int
    needed: int
    layer: str


class Saves:
    """All of them, in the order in which they are saved."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.iteration = problem.iteration
        self.of_step = problem.workload.one_way
        found = _of_step(problem.step) if self.of_step else _of_network(self.iteration)
        self.tensors = tuple(sorted(found, key=lambda one: one.out))

    @cached_property
    def last_forward(self) -> int:
        """The last stage of forward."""
        if self.of_step:
            needs = self.problem.step.stages.need
            return self.problem.step.stages.last_save_before(needs[-1] if needs else 0)
        return max(number for number, stage in enumerate(self.iteration.stages) if not stage.backward)

    @cached_property
    def head(self) -> int:
        """The stage from which on all that is saved is the model's last GEMM's, its head's, or comes behind it."""
        kinds = ("FC", "CONV")
        if self.of_step:
            gemms = [number for number, saved in enumerate(self.problem.step.saved) if kind_of(saved) == GEMM]
            return self._begin_of_node(gemms[-1]) if gemms else self.last_forward + 1
        layers = [n for n, stage in enumerate(self.iteration.stages) if not stage.backward and stage.kind in kinds]
        return max(layers, default=self.last_forward + 1)

    def _begin_of_node(self, number: int) -> int:
        """The stage of the first tensor that the node which saves this one saves."""
        places = [(saved.module, saved.node) for saved in self.problem.step.saved]
        while number and places[number - 1] == places[number]:
            number -= 1
        return self.problem.step.stages.save[number]

    def read_by(self, layers: Collection[str]) -> frozenset[str]:
        """The maps that backward of these layers of a network reads."""
        stages = self.iteration.stages
        of_layers = (each for each in self.iteration.operators if stages[each.stage].layer in layers)
        return frozenset(name for each in of_layers if stages[each.stage].backward for name in each.reads)

    def leave(self, one: Saved, freed: int, back: int) -> Leave:
        """It leaves where it is saved, goes at the end of `freed` or as soon after as it can, and begins to come back
        in `back`, or as soon after; by when it is needed at the latest."""
        freed = min(max(freed, one.idle), one.needed - 1)
        back = max(back, freed + 1)
        if self.of_step:  # copies in begin where something is needed
            needs = self.problem.step.stages.need
            place = bisect_left(needs, back)
            back = needs[place] if place < len(needs) else one.needed
        return Leave(one.out, freed, min(back, one.needed), one.needed)

    def plan_of_copies(self, own: Mapping[int, OwnCopy], copies: CopyStreams) -> Plan:
        """The plan in which these saved tensors of a step are copied each by itself."""
        step = self.problem.step
        blocks = frozenset(block_name(step.saved[number].block) for number in own)
        named = {saved_name(number): one for number, one in own.items()}
        schedule = replace(schedule_of(step, {}), copies=copies, offload=blocks, own_copies=named)
        algorithms = self.problem.performance_optimal
        return Plan(schedule, algorithms, workspaces_of(algorithms, self.problem.trace))

    def plan(
        self,
        actions: Mapping[str, Action],
        copies: CopyStreams = CopyStreams.EACH_WAY,
        nvme: frozenset[str] = frozenset(),
    ) -> Plan:
        """The plan in which tensors do this, each kernel at its fastest, streams wait, copies are on these, and what
        leaves goes on to NVMe where it is among those."""
        problem = self.problem
        algorithms = problem.performance_optimal
        if self.of_step:
            schedule = schedule_of(problem.step, actions)
            offload = frozenset(actions)
        else:
            schedule = _schedule(self.iteration, problem.weight_gradients, actions)
            readers = (stage for stage in self.iteration.stages if not stage.backward)
            offload = frozenset(stage.layer for stage in readers if schedule.leaves.keys() & set(stage.inputs))
        schedule = replace(schedule, offload=offload, copies=copies, nvme=nvme)
        return Plan(schedule, algorithms, workspaces_of(algorithms, problem.trace))


def _schedule(iteration: Iteration, gradients: WeightGradients, actions: Mapping[str, Action]) -> Schedule:
    classes = [MemoryClass.WEIGHTS]
    if gradients is WeightGradients.RESIDENT:
        classes.append(MemoryClass.WEIGHT_GRADIENTS)
    before = [name for name, buffer in iteration.buffers.items() if buffer.memory_class in classes]
    stays = frozenset(before)
    before += [name for name in iteration.inputs if name not in stays]
    stays |= {name for name in iteration.inputs if name not in iteration.first_read_in_backward}
    return Schedule(Layout.LAYER_WISE, Waits.STREAMS, gradients, tuple(before), stays, dict(actions))


def _of_network(iteration: Iteration) -> list[Saved]:
    found = []
    stages = iteration.stages
    savers: dict[str, int] = {}
    forward_use: dict[str, int] = {}
    for operator in iteration.operators:
        stage = stages[operator.stage]
        for name in (*operator.reads, *operator.writes):
            if stage.backward:
                savers[name] = min(stage.forward, savers.get(name, stage.forward))
            else:
                forward_use[name] = operator.stage
    for name, needed in iteration.first_read_in_backward.items():
        buffer, makers = iteration.buffers[name], iteration.makers[name]
        if buffer.memory_class is not MemoryClass.FEATURE_MAPS or name in iteration.inputs or not makers:
            continue
        written = max(iteration.by_key[key].stage for key in makers)
        out = max(written, savers[name])
        elements = buffer.size_bytes // iteration.tensors[name].element_bytes
        idle = max(out, forward_use[name])
        found.append(Saved(name, buffer.size_bytes, elements, out, idle, needed, stages[out].layer))
    return found


def _of_step(step: CapturedStep) -> list[Saved]:
    elements: dict[int, int] = {}
    modules: dict[int, str] = {}
    for saved in step.saved:
        elements[saved.block] = max(elements.get(saved.block, 0), prod(saved.shape))
        modules.setdefault(saved.block, saved.module)
    found = []
    for number in may_leave(step):
        out, needed = step.stages.leaves(number), step.stages.needs[number][0]
        size_bytes = step.blocks[number].size_bytes
        found.append(Saved(block_name(number), size_bytes, elements[number], out, out, needed, modules[number]))
    return found
