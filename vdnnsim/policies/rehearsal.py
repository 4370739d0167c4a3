"""An iteration rehearsed on operator times and bytes: what policies that decide by the clock go by, once, for a plan.

Stages follow each other without gaps, each as long as its kernels; blocks are counted in bytes, without addresses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from vdnnsim.captured.step import BEFORE_STEP, CapturedStep, Doing
from vdnnsim.iteration import MemoryClass, WeightGradients
from vdnnsim.policies.plan import Plan, Problem, workspaces_of
from vdnnsim.policies.saves import Saved, Saves

_SHARES = (1.0, 0.92, 0.84, 0.7)


class Rehearsal:
    """By stage: how long its kernels take (`stage_ns`), when it begins (`begins_ns`, with the end of all), the most
    bytes in use in it where everything is kept (`usage`)."""

    def __init__(self, saves: Saves, capacity_bytes: int) -> None:
        self.saves = saves
        self.capacity_bytes = capacity_bytes
        problem = saves.problem
        self.algorithms = problem.performance_optimal
        self.kernel_ns = {
            key: problem.trace.row(*key, algorithm).duration_ns for key, algorithm in self.algorithms.items()
        }
        self.stage_ns = [
            sum(self.kernel_ns.get(operator.key, 0) for operator in operators)
            for operators in saves.iteration.operators_of_stage
        ]
        self.begins_ns = [0, *accumulate(self.stage_ns)]
        self.usage = _of_step(problem.step) if saves.of_step else self._of_network(problem)

    def _of_network(self, problem: Problem) -> list[int]:
        iteration = self.saves.iteration
        gradients = problem.weight_gradients
        changes = [0] * (len(iteration.stages) + 1)
        always = 0
        for name, buffer in iteration.buffers.items():
            is_gradient = buffer.memory_class is MemoryClass.WEIGHT_GRADIENTS
            if is_gradient and gradients is WeightGradients.NONE:
                continue
            if buffer.memory_class is MemoryClass.WEIGHTS or (is_gradient and gradients is WeightGradients.RESIDENT):
                always += buffer.size_bytes
            elif name in iteration.first_stage:
                changes[0 if name in iteration.inputs else iteration.first_stage[name]] += buffer.size_bytes
                changes[iteration.last_stage[name] + 1] -= buffer.size_bytes
        workspaces = workspaces_of(self.algorithms, problem.trace)
        return [
            always + held + max((workspaces.get(operator.key, 0) for operator in operators), default=0)
            for held, operators in zip(accumulate(changes), iteration.operators_of_stage, strict=False)
        ]

    def over(self, stage: int) -> int:
        """By how many bytes a stage exceeds the capacity; 0 where it does not."""
        return max(0, self.usage[stage] - self.capacity_bytes)

    def take_away(self, size_bytes: int, gone: int, back: int) -> None:
        """So many bytes are not there from behind stage `gone` to before stage `back`."""
        for stage in range(gone + 1, back):
            self.usage[stage] -= size_bytes

    def stage_at(self, time_ns: int) -> int:
        """The stage that is under way then."""
        return min(max(0, bisect_right(self.begins_ns, time_ns) - 1), len(self.stage_ns) - 1)

    def idle_ns(self, one: Saved) -> int:
        """How long nobody uses it."""
        return self.begins_ns[one.needed] - self.begins_ns[one.idle + 1]

    def copies_ns(self, size_bytes: int) -> tuple[int, int]:
        """How long its copies out and in take alone."""
        link = self.saves.problem.gpu.link
        return link.copy_out.duration_ns(size_bytes), link.copy_in.duration_ns(size_bytes)

    def room_from(self, size_bytes: int, gone: int, back: int) -> int:
        """The earliest stage behind `gone` from which so many bytes more have room until `back`."""
        while back - 1 > gone and self.usage[back - 1] + size_bytes <= self.capacity_bytes:
            back -= 1
        return back


def until_it_fits(problem: Problem, make: Callable[[Saves, int], Plan]) -> Plan:
    """The plan made of what is saved for the GPU's bytes, or, where the pool finds no room for it, for less: what is
    rehearsed has no addresses. The last one where none fits."""
    saves = Saves(problem)
    plans = []
    for share in _SHARES:
        plans.append(make(saves, int(problem.gpu.capacity_bytes * share)))
        if problem.laboratory.attempt(f"{share:.0%} of the memory", plans[-1]).fits:
            break
    return plans[-1]


def _of_step(step: CapturedStep) -> list[int]:
    dying: dict[int, int] = {}
    held = 0
    for block in step.blocks:
        if block.taken == BEFORE_STEP:
            held += block.size_bytes
        if block.given_hooked is not None:
            dying[block.given_hooked] = dying.get(block.given_hooked, 0) + block.size_bytes
    usage = [held]
    for number, (doing, what) in enumerate(step.deeds):
        if doing in (Doing.SAVE, Doing.NEED):
            usage.append(held)
        elif doing is Doing.TAKE:
            held += step.blocks[what].size_bytes
            usage[-1] = max(usage[-1], held)
        held -= dying.get(number, 0)
    return usage
