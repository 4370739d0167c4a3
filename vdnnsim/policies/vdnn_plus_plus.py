"""vDNN++: vDNN whose layers do not wait for copies.

Rules as in the public code of its authors (vdnn_ext_cmp, src/neural_net.cu):

* A copy out is given with its layer; at the end of the layer the host waits for the kernels alone. A map's block goes
  when its own copy is done; a request that finds no room waits for the next one to go.
* Before the loss the host waits for every copy out that is left.
* Backward of a layer waits for its own X, and prefetches one by the paper's window.
* X of the last layer that is no ACTV or SOFTMAX never leaves. The input data is not copied out: the host has it.

Deviation: the code lets the clock say when a block goes, and addresses would depend on it. Here it goes at the end of
the layer by whose end its copy should be done, going by the trace's kernels and the link, where the host waits should
it not be; or, where the pool would find no room, at the end of the layer before, the oldest copies first.

Of a captured step every block leaves but what the last CONV, GEMM or attention reads; each is let go at the hook call
by which its copy should be done, and one is fetched ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from vdnnsim.captured.agenda import block_name
from vdnnsim.captured.choosing import kind_of, may_leave
from vdnnsim.iteration import Iteration, Leave, Waits
from vdnnsim.policies.offload import offload_plan
from vdnnsim.policies.plan import Algorithms, Plan, Problem, workspaces_of
from vdnnsim.policies.schedules import layer_wise
from vdnnsim.units import PPM

_NEVER = ("ACTV", "SOFTMAX")


@dataclass(frozen=True)
class VdnnPlusPlus:
    """X of every layer but the last leaves, each pass at its fastest, and no layer waits for a copy."""

    name: str = "vdnn++"

    def check(self, problem: Problem) -> None:
        """Nothing is needed beyond what every problem has."""

    def plan(self, problem: Problem) -> Plan:
        return _plan_of_step(problem) if problem.workload.one_way else _plan_of_network(problem)


def _plan_of_network(problem: Problem) -> Plan:
    iteration = problem.iteration
    algorithms = problem.performance_optimal
    layers = [stage for stage in iteration.stages if not stage.backward]
    last = max((number for number, stage in enumerate(layers) if stage.kind not in _NEVER), default=0)
    offload = frozenset(stage.layer for stage in layers[:last] if stage.inputs)
    schedule = layer_wise(iteration, offload, problem.weight_gradients, Waits.KERNELS)
    loss = len(layers) - 1
    done = copies_done(problem, algorithms, schedule.leaves)
    actions = {
        name: action._replace(out=None)
        if name in iteration.inputs
        else action._replace(freed=max(action.freed, min(done[name], loss - 1)), freed_early=True)
        for name, action in schedule.leaves.items()
    }
    return Plan(replace(schedule, actions=actions), algorithms, workspaces_of(algorithms, problem.trace))


def _plan_of_step(problem: Problem) -> Plan:
    step = problem.step
    last = next((saved.block for saved in reversed(step.saved) if kind_of(saved)), None)
    leaving = [block_name(number) for number in may_leave(step) if number != last]
    plan = offload_plan(problem, leaving, ahead=1, in_flight_bytes=None)
    done = copies_done(problem, plan.algorithms, plan.schedule.leaves)
    actions = {
        name: action._replace(freed=min(action.freed, max(done.get(name, action.freed), action.out or 0) + 1))
        for name, action in plan.schedule.leaves.items()
    }
    return replace(plan, schedule=replace(plan.schedule, actions=actions))


def copies_done(
    problem: Problem,
    algorithms: Algorithms,
    leaves: Mapping[str, Leave],
    takes_ns: Callable[[int], int] | None = None,
) -> dict[str, int]:
    """By tensor, the forward stage by whose end its copy out should be done: kernels one after the other without a gap,
    each copy behind the one before it, slowed by the kernels beside it. What is not done by the last forward stage
    counts as done there. `takes_ns` says how long so many bytes take where the link's curve does not."""
    iteration = problem.iteration
    takes_ns = takes_ns or problem.gpu.link.copy_out.duration_ns
    pending: list[tuple[str, int]] = []  # what is left of each copy, in nanoseconds alone times millionths
    done: dict[str, int] = {}
    given: dict[int, list[str]] = {}
    for name, action in leaves.items():
        if action.out is not None and name not in iteration.inputs:
            given.setdefault(action.out, []).append(name)
    last = 0
    for stage, rows in enumerate(_kernels(problem, iteration, algorithms)):
        pending += [(name, takes_ns(iteration.buffers[name].size_bytes) * PPM) for name in given.get(stage, ())]
        for duration_ns, slowdown_ppm in rows:
            room = duration_ns * PPM * PPM // slowdown_ppm
            while pending and room >= pending[0][1]:
                name, left = pending.pop(0)
                room -= left
                done[name] = stage
            if pending:
                pending[0] = (pending[0][0], pending[0][1] - room)
        last = stage
    return {**dict.fromkeys((name for name, _ in pending), last), **done}


def _kernels(problem: Problem, iteration: Iteration, algorithms: Algorithms) -> list[list[tuple[int, int]]]:
    """Duration and slowdown of copies out of the kernels of each forward stage."""
    trace = problem.trace
    keys_of_stage = ([operator.key for operator in operators] for operators in iteration.operators_of_stage)
    return [
        [
            (row.duration_ns, row.copy_out_slowdown_ppm)
            for row in (trace.row(*key, algorithms[key]) for key in keys if key in algorithms)
        ]
        for stage, keys in zip(iteration.stages, keys_of_stage, strict=True)
        if not stage.backward
    ]
